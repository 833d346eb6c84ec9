"""B1: jobs of one owner never wait for each other's guests: not for a planner's, and not to have a unit repeated."""

import re
from functools import partial
from pathlib import Path

import pytest
import trio

from p2p.compute.owner.jobs import Underway
from p2p.errors import JobError
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire.link import PeerHint
from tests.support.compiled import compiled as compiled
from tests.support.leaks import clean as clean
from tests.support.world import World, hint_of, until
from tests.support.world import world as world
from tests.support.world_jobs import SUM, run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled", "clean")

BAD = "def work(n):\n    return 1 // (7 - n)\ndef job(inputs):\n    return inputs.range(20).map(work).sum()\n"
LONG = """\
def work(n):
    return sum(range(40_000)) * 0 + n
def job(inputs):
    return inputs.range(10**5).map(work).sum()
"""
SLOW_PLAN = "def job(inputs):\n    while True:\n        pass\n"
TOLD_WITHIN_S = 5.0


class Crowd:
    """Jobs of one owner that run at the same time, and how each ended."""

    def __init__(self, owner: Node, peers: list[PeerHint], nursery: trio.Nursery) -> None:
        self.owner = owner
        self._peers = peers
        self._nursery = nursery
        self.endings: dict[str, str] = {}

    def begin(self, path: Path, partitions: int = 4) -> None:
        async def run() -> None:
            try:
                answer = await run_job(
                    self.owner, path, self._peers, progress=Progress(), partitions=partitions, wait_s=None
                )
                self.endings[path.name] = str(answer.result)
            except JobError as error:
                self.endings[path.name] = str(error)

        self._nursery.start_soon(run)

    def underway(self, path: Path) -> Underway | None:
        return next((one for one in self.owner.jobs.under_way if one.view.name == path.name), None)


async def two_volunteers(world: World) -> list[PeerHint]:
    return [hint_of(await volunteer(world, name)) for name in ("one", "other")]


async def test_two_jobs_with_a_bad_record_each_end_and_a_third_begins(world: World) -> None:
    """Parsl/parsl#1035, #578, #1245: both showed "running, failed 1" for ever, and a third never began."""
    peers, owner = await two_volunteers(world), await world.peer("owner")
    async with trio.open_nursery() as nursery:
        crowd = Crowd(owner, peers, nursery)
        for number in range(2):
            crowd.begin(write_job(world, BAD, f"bad-{number}.py"))
        await until(lambda: len(owner.jobs.under_way) == 2)
        crowd.begin(write_job(world, SUM, "good.py"))
        with trio.fail_after(20):
            await until(lambda: len(crowd.endings) == 3)
    assert crowd.endings.pop("good.py") == str(sum(i * i for i in range(60)))
    assert all("ZeroDivisionError" in ending for ending in crowd.endings.values())


async def test_an_error_is_told_at_once_beside_a_job_that_goes_on(world: World) -> None:
    peers, owner = await two_volunteers(world), await world.peer("owner")
    path = write_job(world, BAD, "bad.py")
    async with trio.open_nursery() as nursery:
        crowd = Crowd(owner, peers, nursery)
        crowd.begin(write_job(world, LONG, "long.py"), partitions=50_000)
        await until(lambda: owner.jobs.under_way and owner.jobs.under_way[0].view.units_done)
        crowd.begin(path)
        await until(lambda: (bad := crowd.underway(path)) is not None and bad.view.failures)
        with trio.fail_after(TOLD_WITHIN_S):
            await until(lambda: "ZeroDivisionError" in crowd.endings.get("bad.py", ""))
        assert len(owner.jobs.under_way) == 1
        nursery.cancel_scope.cancel()


async def test_many_jobs_end_though_there_is_room_for_one_planner(world: World) -> None:
    """Each planner makes room while its job waits for units."""
    peers, owner = await two_volunteers(world), await world.peer("owner", jobs={"memory_bytes": 1})
    async with trio.open_nursery() as nursery:
        crowd = Crowd(owner, peers, nursery)
        for number in range(4):
            bad = number % 2
            crowd.begin(write_job(world, BAD if bad else SUM, f"{number}-{'bad' if bad else 'good'}.py"))
        with trio.fail_after(40):
            await until(lambda: len(crowd.endings) == 4)
    for name, ending in crowd.endings.items():
        assert ("ZeroDivisionError" in ending) == name.endswith("bad.py"), ending


async def test_a_job_that_waits_for_room_says_so_and_holds_no_volunteer(world: World) -> None:
    peers, owner = await two_volunteers(world), await world.peer("owner", jobs={"memory_bytes": 1})
    slow, path = write_job(world, SLOW_PLAN, "slow.py"), write_job(world, SUM, "next.py")
    async with trio.open_nursery() as nursery:
        crowd = Crowd(owner, peers, nursery)
        crowd.begin(slow)
        await until(lambda: (first := crowd.underway(slow)) is not None and first.view.volunteers)
        crowd.begin(path)
        await until(lambda: (second := crowd.underway(path)) is not None and second.view.why)
        second = crowd.underway(path)
        assert second is not None
        assert second.view.why == "waiting for room to plan"
        assert not second.run.recruiter.engaged
        assert not second.run.recruiter.lines
        (row,) = [row for row in await owner.jobs.listed() if row.name == "next.py"]
        assert re.fullmatch("waiting for room to plan", row.why)
        first = crowd.underway(slow)
        assert first is not None
        await owner.jobs.cancel(first.view.job)
        await until(lambda: "next.py" in crowd.endings)
    assert crowd.endings["next.py"] == str(sum(i * i for i in range(60)))


async def test_equal_jobs_at_once_do_not_take_their_shares_from_each_other(world: World) -> None:
    """The first to end ended the bundle and the input of the other, which then waited for its turn in vain."""
    owner, local = await world.peer("owner"), await volunteer(world)
    lines, path = world.folder / "lines", write_job(world, "def job(inputs):\n    return inputs.lines().count()\n")
    lines.write_text("line\n" * 1000)
    results: list[int] = []

    async def run() -> None:
        results.append((await run_job(owner, path, [hint_of(local)], wait_s=None, inputs=(str(lines),))).result)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(run)
    assert results == [1000] * 3
    assert owner.library.shares() == []


async def test_a_share_that_its_user_lists_meanwhile_outlives_the_job(world: World) -> None:
    owner, local = await world.peer("owner"), await volunteer(world)
    lines = world.folder / "lines"
    lines.write_text("line\n" * 1000)
    path = write_job(world, "def job(inputs):\n    return inputs.lines().count()\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_job, owner, path, [hint_of(local)], inputs=(str(lines),)))
        await until(lambda: owner.jobs.under_way)
        await owner.sharing.share([lines], None, Progress(), unlisted=False)
    assert [row.name for row in owner.library.shares()] == ["lines"]
