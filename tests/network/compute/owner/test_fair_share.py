"""Two jobs of one owner, who divide its volunteers."""

from pathlib import Path

import trio

from p2p.compute.answers import JobAnswer
from p2p.compute.execution.unit import pieces, result_digest
from p2p.compute.volunteer import volunteering
from p2p.compute.volunteer.job_session import JobSession
from p2p.compute.volunteer.volunteering import Volunteering
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire import work
from tests.support.constants import Shorten
from tests.support.rogue_volunteers import asked, take
from tests.support.world import World, hint_of, start_rogue, until
from tests.support.world_jobs import Employer, run_job, unit, volunteer, write_job

LONG = """\
def work(n):
    return sum(i % 7 for i in range(40_000)) * 0 + n

def job(inputs, n: int = 100_000):
    return inputs.range(n).map(work).sum()
"""


def slots(owner: Node, name: str) -> list[int]:
    """Of each volunteer at work for the job."""
    for underway in owner.jobs.under_way:
        if underway.view.name == name:
            return sorted(member.slots for member in underway.run.sessions.values())
    return []


async def test_a_second_job_gets_its_part_and_gives_it_back(world: World) -> None:
    owner = await world.peer("owner")
    nodes = [await volunteer(world, "two", cores=2), await volunteer(world, "other", cores=2)]
    hints = [hint_of(node) for node in nodes]
    path, second = write_job(world, LONG), write_job(world, LONG, "second.py")
    async with trio.open_nursery() as nursery:

        async def begin(progress: Progress) -> None:
            await run_job(owner, path, hints, progress=progress, partitions=100_000)

        nursery.start_soon(begin, Progress())
        await until(lambda: slots(owner, "job.py") == [2, 2])
        answers: list[JobAnswer] = []

        async def begin_second() -> None:
            answers.append(await run_job(owner, second, hints, partitions=100, args={"n": 100}))

        nursery.start_soon(begin_second)
        await until(lambda: slots(owner, "second.py") and sum(slots(owner, "job.py")) < 4)
        await until(lambda: answers)
        assert answers[0].result == sum(range(100))
        await until(lambda: slots(owner, "job.py") == [2, 2])
        nursery.cancel_scope.cancel()


async def test_cores_that_fall_free_are_for_the_job_that_is_still_at_work(world: World) -> None:
    node = await volunteer(world, cores=2)
    offering = node.volunteering
    assert offering is not None
    first, owner = Employer(await world.peer("first")), await world.peer("owner")
    connection = await first.dial(node)
    await connection.send(offer := first.offer(await first.bundle()))
    await connection.receive()
    await connection.send(work.Slots(1))
    await until(lambda: offering.spare == 1)
    async with trio.open_nursery() as nursery:

        async def begin() -> None:
            await run_job(owner, write_job(world, LONG), [hint_of(node)], partitions=100_000)

        nursery.start_soon(begin)
        await until(lambda: slots(owner, "job.py") == [1])
        (underway,) = owner.jobs.under_way
        (member,) = underway.run.sessions.values()
        member.use(0)
        member.use(1)  # all again, as after another job of the owner
        await connection.send(work.JobEnd(offer.job))
        await until(lambda: slots(owner, "job.py") == [2])
        assert (member.offered, member.wanted) == (2, 2)
        assert offering.busy == 2
        nursery.cancel_scope.cancel()
    connection.close()


async def test_slots_that_came_later_send_large_outputs_at_the_same_time(world: World) -> None:
    body = b"x" * 2 * work.MAX_PIECE_BYTES

    async def grows(connection: Connection) -> None:
        await take(connection, slots=1)
        await connection.send(work.Slots(4))
        units: list[work.Unit] = []
        while len(units) < 4:
            units += await asked(connection)
        for some in zip(*(pieces(one.id, body) for one in units), strict=True):
            await connection.send(*some)
        made = tuple(work.Result(one.id, result_digest([body]), (len(body),)) for one in units)
        await connection.send(work.Results(made))
        await asked(connection)

    owner = await world.peer("owner")
    job = "def job(inputs):\n    inputs.range(4).map(str).save('text')\n"
    async with trio.open_nursery() as nursery:
        peer = await start_rogue(nursery, owner, grows)
        answer = await run_job(owner, write_job(world, job), [peer.hint], partitions=4)
        nursery.cancel_scope.cancel()
    assert [path.read_bytes() for path in sorted(Path(str(answer.folder)).iterdir())] == 4 * [body]  # noqa: ASYNC240


class _Sweep(trio.abc.Instrument):
    """Gives the slots that fell free away at the very moment when all tasks of a job have ended."""

    def __init__(self, offering: Volunteering, job: JobSession) -> None:
        self._offering = offering
        self._nursery = job._slots._nursery
        self.swept = False
        self.failed: list[RuntimeError] = []

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        if task.parent_nursery is self._nursery and not self._nursery.child_tasks and not self.swept:
            self.swept = True
            try:
                self._offering._top_up()
            except RuntimeError as error:
                self.failed.append(error)


async def test_a_job_that_ends_gets_no_more_slots(world: World, shorten: Shorten) -> None:
    shorten(volunteering, "SWEEP_INTERVAL_S", 1e6)
    node = await volunteer(world)
    offering = node.volunteering
    assert offering is not None
    first, second = Employer(await world.peer("first")), Employer(await world.peer("second"))
    bundle = await first.bundle()
    connection, other = await first.dial(node), await second.dial(node)
    await connection.send(offer := first.offer(bundle))
    await connection.receive()
    job = offering.jobs[offer.job]
    await until(lambda: job._slots._start is not None)
    await connection.send(work.Slots(0), work.Units((unit(),)))
    await until(lambda: offering.spare)
    await other.send(another := second.offer(bundle))
    await until(lambda: another.job in offering.jobs)
    await connection.send(work.Slots(1))
    await until(lambda: job.wanted)
    await other.send(work.JobEnd(another.job))
    await until(lambda: offering.spare)
    sweep = _Sweep(offering, job)
    trio.lowlevel.add_instrument(sweep)
    await connection.send(work.JobEnd(offer.job))
    await job.over.wait()
    trio.lowlevel.remove_instrument(sweep)
    assert sweep.swept
    assert not sweep.failed
    connection.close()
    other.close()
