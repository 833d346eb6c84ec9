"""Jobs that are gone on with: by one at a time, whoever asks, and in whatever order."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p.compute.inputs import named_input
from p2p.control.protocol import GoOnRequest, ShareRequest
from p2p.errors import ConfigError, JobError, NotFound, ShoalError
from p2p.ids import from_text, to_text
from p2p.node import Node
from p2p.progress import Progress
from tests.support.world import PATIENCE_S, World, asked, hint_of, until
from tests.support.world_jobs import MIB, run_job, volunteer, write_job

SLOW = """
def work(n):
    return sum(i * i % 7 for i in range(20_000)) * 0 + n


def job(inputs):
    return inputs.range(60).map(work).sum()
"""
ANSWER = sum(range(60))


async def interrupted(owner: Node, path: Path, *volunteers: Node, **wish: Any) -> str:
    """A job whose user pressed Ctrl-C, once something of it was done if anybody was there to do it; its id."""
    progress = Progress()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            peers = list(map(hint_of, volunteers))
            await run_job(owner, path, peers, progress=progress, partitions=60, **wish)

        nursery.start_soon(run)
        await until(lambda: progress.view is not None and progress.view.units_done >= 2 * len(volunteers))
        nursery.cancel_scope.cancel()
    (listed,) = await owner.jobs.listed()
    assert listed.state == "stopped"
    return str(listed.job)


async def resumed(owner: Node, job: str) -> object:
    """What its user gets, or the kind of error."""
    try:
        with trio.fail_after(PATIENCE_S):
            return (await owner.jobs.resume(job, Progress())).result
    except ShoalError as error:
        return str(error)


async def test_of_those_who_resume_a_job_at_the_same_moment_one_does(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    job = await interrupted(owner, write_job(world, SLOW), local)
    outcomes: Counter[object] = Counter()

    async def resume() -> None:
        outcomes[await resumed(owner, job)] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(resume)
        await until(lambda: owner.jobs.under_way)
        nursery.start_soon(resume)
    assert outcomes == {ANSWER: 1, f"Job {job[:8]} is under way already.": 4}
    with pytest.raises(ConfigError, match="there is nothing left to do"):
        await owner.jobs.resume(job, Progress())
    assert not owner.jobs.claimed
    assert not list((owner.home / "jobs").iterdir())


async def test_what_was_accepted_before_an_interruption_is_kept(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    progress = Progress()
    path = write_job(world, SLOW)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await run_job(owner, path, [hint_of(local)], progress=progress, partitions=60)

        nursery.start_soon(run)
        await until(lambda: progress.view is not None and progress.view.units_done >= 2)
        nursery.cancel_scope.cancel()
    (listed,) = await owner.jobs.listed()
    assert progress.view is not None
    assert len(list(owner.journal.replay(from_text(listed.job)))) == progress.view.units_done


async def test_a_resumed_job_reads_the_version_of_a_mutable_link_that_it_began_with(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    path = world.folder / "numbers"
    path.write_text("1\n2\n")
    first = await asked(local, ShareRequest(paths=(str(path),), pointer="numbers"))
    named = named_input(f"shoal://numbers@{to_text(local.peer_id)}/")
    assert local.volunteering is not None
    local.volunteering.pause(True)
    job = write_job(world, "def job(inputs):\n    return inputs.lines().map(int).sum()\n")
    with pytest.raises(NotFound, match="olunteer"):
        await run_job(owner, job, [hint_of(local)], inputs=(named,), wait_s=0.3)
    local.volunteering.pause(False)
    other = world.folder / "other"
    other.write_text("100\n")
    assert (await asked(local, ShareRequest(paths=(str(other),), pointer="numbers"))).id != first.id
    (listed,) = await owner.jobs.listed()
    assert await resumed(owner, listed.job) == 3


async def test_a_volunteer_that_is_named_later_works_for_the_job(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    job = await interrupted(owner, write_job(world, SLOW))
    with trio.fail_after(PATIENCE_S):
        assert (await asked(owner, GoOnRequest(id=job, peers=(str(hint_of(local)),)))).job.result == ANSWER


async def test_a_job_whose_mutable_link_nobody_knows_is_not_kept(world: World) -> None:
    owner = await world.peer("owner")
    job, text = write_job(world, SLOW), f"shoal://numbers@{to_text(bytes(32))}/"
    with pytest.raises(NotFound, match="Nobody knew of 'numbers'"):
        await run_job(owner, job, [], inputs=(text,), wait_s=0.1)
    assert await owner.jobs.listed() == []


async def test_a_job_is_cancelled_while_it_is_set_up_again(world: World) -> None:
    owner = await world.peer("owner")
    data = world.folder / "data"
    with data.open("wb") as file:
        file.truncate(256 * MIB)
    job = await interrupted(owner, write_job(world, SLOW), inputs=(str(data),))
    data.touch()  # so that it is read anew
    progress = Progress()
    async with trio.open_nursery() as nursery:

        async def resume() -> None:
            with pytest.raises(JobError, match="cancelled"):
                await owner.jobs.resume(job, progress)

        nursery.start_soon(resume)
        await until(lambda: progress.state.startswith("indexing"))
        assert not owner.jobs.under_way
        # Who cancels it too is not told that nothing is there.
        nursery.start_soon(owner.jobs.cancel, job)
        assert await owner.jobs.cancel(job) == from_text(job)
    (listed,) = await owner.jobs.listed()
    assert listed.state == "cancelled"
    assert not list((owner.home / "jobs").iterdir())
    assert not owner.library.shares()
    for again in (owner.jobs.cancel(job), owner.jobs.resume(job, Progress())):
        with pytest.raises(ConfigError, match="is cancelled"):
            await again


async def test_a_job_that_is_resumed_and_cancelled_at_the_same_moment(world: World) -> None:
    owner = await world.peer("owner")
    job = await interrupted(owner, write_job(world, SLOW))
    outcomes: list[object] = []

    async def resume() -> None:
        outcomes.append(await resumed(owner, job))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(owner.jobs.cancel, job)
        for _ in range(3):
            nursery.start_soon(resume)
    # Whoever came first: it is cancelled in the end, and nobody got half of it.
    assert all(isinstance(one, str) and ("cancelled" in one or "under way" in one) for one in outcomes), outcomes
    (listed,) = await owner.jobs.listed()
    assert listed.state == "cancelled"
    assert not owner.jobs.claimed
    assert not list((owner.home / "jobs").iterdir())
