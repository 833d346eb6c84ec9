"""B5: a volunteer has its cores back when its user wants them, and owners that wait for them get their turn."""

import re
from pathlib import Path

import pytest
import trio

from p2p.control.protocol import VolunteerRequest
from p2p.node import Node
from p2p.progress import JobView, Progress
from tests.support.compiled import compiled as compiled
from tests.support.guest_programs import children
from tests.support.leaks import clean as clean
from tests.support.world import World, asked, hint_of, until
from tests.support.world import world as world
from tests.support.world_jobs import SUM, run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled", "clean")

DAY_S = 24 * 3600.0
FOR_EVER = "def work(n):\n    while True:\n        pass\ndef job(inputs):\n    return inputs.range(3).map(work).sum()\n"
MANY = """\
def work(n):
    return sum(range(200_000)) * 0 + n
def job(inputs):
    return inputs.range(10**5).map(work).sum()
"""


class Begun:
    """A job that runs in the background."""

    def __init__(self, owner: Node, at: list[Node], path: Path, nursery: trio.Nursery, **wish: object) -> None:
        self.progress = Progress()
        self.result: object = None
        self._owner, self._at, self._path = owner, at, path
        self._wish = {"wait_s": None, "unit_time_s": DAY_S, "partitions": 3} | wish
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        hints = [hint_of(node) for node in self._at]
        answer = await run_job(self._owner, self._path, hints, progress=self.progress, **self._wish)
        self.result = answer.result

    @property
    def view(self) -> JobView:
        return self.progress.view or JobView()


def guests(node: Node) -> list[int]:
    return [guest for worker in node.sandbox.process_ids() for guest in children(worker)]


async def test_a_pause_that_cannot_wait_ends_the_units_and_nobody_is_at_fault(world: World) -> None:
    """BOINC/boinc#41, #3186, #903: a paused volunteer went on at full load until its unit ended by itself."""
    local, owner = await volunteer(world, cores=2), await world.peer("owner")
    offering = local.volunteering
    assert offering is not None
    async with trio.open_nursery() as nursery:
        job = Begun(owner, [local], write_job(world, MANY), nursery, partitions=50_000)
        await until(lambda: job.view.units_done)
        endless = Begun(owner, [local], write_job(world, FOR_EVER, "endless.py"), nursery)
        await until(lambda: any(stage.running for stage in endless.view.stages) and endless.view.volunteers)
        busy = guests(local)
        answer = await asked(local, VolunteerRequest(pause=True, now=True))
        assert (answer.paused, answer.busy, len(answer.jobs)) == (True, 0, 2)
        await until(lambda: set(busy) - set(guests(local)))  # a guest between two units may stay
        assert not any(session._reports.running for session in offering.jobs.values())
        await until(lambda: job.view.why == endless.view.why == "the volunteers are paused, or busy with other jobs")
        assert not any(sum(stage.running for stage in one.view.stages) for one in (job, endless))
        done = job.view.units_done
        await asked(local, VolunteerRequest(pause=False))
        await until(lambda: job.view.units_done > done)
        for one in (job, endless):
            assert (one.view.failures, one.view.losses) == (0, 0)
        for underway in owner.jobs.under_way:
            assert not underway.run._driver.job._crew._strikes
        nursery.cancel_scope.cancel()


async def test_units_that_still_come_after_such_a_pause_are_returned(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    offering = local.volunteering
    assert offering is not None
    async with trio.open_nursery() as nursery:
        job = Begun(owner, [local], write_job(world, MANY), nursery, partitions=50_000)
        await until(lambda: job.view.units_done)
        offering.pause(True, now=True)
        (session,) = offering.jobs.values()
        (underway,) = owner.jobs.under_way
        await until(
            lambda: not sum(stage.running for stage in job.view.stages) and not underway.view.volunteers[0].units
        )
        assert not len(session._slots)
        assert not underway.view.failures
        nursery.cancel_scope.cancel()


async def test_a_unit_without_end_gives_its_core_to_the_next_owner(world: World) -> None:
    """The owner's limit is a day; the volunteer's own counts. The other owner showed "1st in line" for ever."""
    local = await volunteer(world, unit_time_s=1.5)
    first, second = await world.peer("first"), await world.peer("second")
    async with trio.open_nursery() as nursery:
        endless = Begun(first, [local], write_job(world, FOR_EVER, "endless.py"), nursery)
        await until(lambda: any(stage.running for stage in endless.view.stages))
        other = Begun(second, [local], write_job(world, SUM), nursery, unit_time_s=60.0)
        with trio.fail_after(30):
            await until(lambda: other.result is not None)
        assert other.result == sum(i * i for i in range(60))
        told = " ".join(endless.progress.notes)
        assert "Volunteers end a unit after 2 s, though --unit-time is 24:00:00" in told
        assert re.search(r"A unit was ended after 2 s, .*Make units smaller, with more --partitions", told)
        (underway,) = first.jobs.under_way
        assert not underway.view.failures
        assert not underway.run._driver.job._crew._strikes
        nursery.cancel_scope.cancel()


async def test_a_job_of_many_units_lets_the_next_owner_have_its_turn(world: World) -> None:
    local = await volunteer(world, unit_time_s=2.0)
    first, second = await world.peer("first"), await world.peer("second")
    async with trio.open_nursery() as nursery:
        long = Begun(first, [local], write_job(world, MANY, "many.py"), nursery, partitions=50_000, unit_time_s=60.0)
        await until(lambda: long.view.units_done)
        other = Begun(second, [local], write_job(world, SUM), nursery, unit_time_s=60.0)
        with trio.fail_after(30):
            await until(lambda: other.result is not None)
        done = long.view.units_done
        with trio.fail_after(30):
            await until(lambda: long.view.units_done > done)  # it has the core back
        assert not long.view.failures
        assert not long.view.losses
        nursery.cancel_scope.cancel()


async def test_what_a_volunteer_allows_is_offered_and_units_are_cut_for_it(world: World) -> None:
    local, owner = await volunteer(world, unit_time_s=10.0), await world.peer("owner")
    assert local.volunteering is not None
    await until(lambda: local.volunteering is not None and local.volunteering.capacity())
    capacity = local.volunteering.capacity()
    assert capacity is not None
    assert capacity.unit_s == 10.0
    counts = {}
    for unit_time_s in (10.0, 7200.0):
        progress = Progress()
        await run_job(owner, write_job(world, SUM), [hint_of(local)], progress=progress, unit_time_s=unit_time_s)
        assert progress.view is not None
        counts[unit_time_s] = progress.view.units_done
        assert any("made 720 times smaller" in note for note in progress.notes) == (unit_time_s > 10)
    assert counts[10.0] < 10
    assert counts[7200.0] == 60
