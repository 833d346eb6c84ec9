"""Two jobs of one owner, who divide its volunteers."""

from typing import Any

import pytest
import trio

from p2p.services.local import Local
from p2p.services.progress import Progress
from p2p.wire import work
from tests.network.working import Employer, compile_once, run_job, volunteer, write_job
from tests.network.world import World, hint_of, until

LONG = """\
def work(n):
    return sum(i % 7 for i in range(40_000)) * 0 + n

def job(inputs, n: int = 100_000):
    return inputs.range(n).map(work).sum()
"""


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_once()


def slots(owner: Local, name: str) -> list[int]:
    """Of each volunteer at work for the job."""
    for underway in owner.jobs.values():
        if underway.view.name == name:
            return sorted(member.slots for member in underway.run.members.values())
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
        answers: list[dict[str, Any]] = []

        async def begin_second() -> None:
            answers.append(await run_job(owner, second, hints, partitions=100, args={"n": 100}))

        nursery.start_soon(begin_second)
        await until(lambda: slots(owner, "second.py") and sum(slots(owner, "job.py")) < 4)
        await until(lambda: answers)
        assert answers[0]["result"] == sum(range(100))
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
        await connection.send(work.JobEnd(offer.job))
        await until(lambda: slots(owner, "job.py") == [2])
        (underway,) = owner.jobs.values()
        (member,) = underway.run.members.values()
        assert (member.offered, member.wanted) == (2, 2)
        assert offering.busy == 2
        nursery.cancel_scope.cancel()
    connection.close()
