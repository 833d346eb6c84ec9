"""Jobs in the background: what ends them, what does not, and what a node goes on with."""

import pytest
import trio

from p2p.compute.spec import JobSpec
from p2p.control.protocol import (
    BackgroundRequest,
    GoOnRequest,
    JobsRequest,
    PauseRequest,
    RemoveRequest,
    ResultRequest,
    RunRequest,
)
from p2p.errors import ConfigError, JobError
from p2p.node import Node
from tests.support.world import PATIENCE_S, World, asked, hint_of, until
from tests.support.world_jobs import volunteer, write_job

SLOW = """
def work(n):
    return sum(i * i % 7 for i in range(20_000)) * 0 + n


def job(inputs):
    return inputs.range(60).map(work).sum()
"""
ANSWER = sum(range(60))


def request(world: World, worker: Node, source: str = SLOW) -> BackgroundRequest:
    path = write_job(world, source)
    spec = JobSpec(str(path), peers=(str(hint_of(worker)),), partitions=60, unit_time_s=20.0, wait_s=20.0)
    return BackgroundRequest(request=RunRequest(wish=spec))


async def until_some_is_done(owner: Node) -> None:
    await until(lambda: any(one.view.units_done >= 2 for one in owner.jobs.under_way))


async def state(owner: Node) -> str:
    (row,) = await asked(owner, JobsRequest())
    return str(row.state)


async def test_a_job_in_the_background_outlives_its_command_and_its_node(world: World) -> None:
    worker, owner = await volunteer(world), await world.peer("owner", stays=True)
    begun = await asked(owner, request(world, worker))
    assert (begun.kind, begun.name, begun.state) == ("job", "job.py", "running")
    await until_some_is_done(owner)
    with trio.move_on_after(0.01):
        await asked(owner, ResultRequest(id=begun.id, wait=True))
    assert await state(owner) == "running"
    await world.stop("owner")
    owner = await world.peer("owner", stays=True)
    await until(lambda: owner.jobs.under_way)
    with trio.fail_after(PATIENCE_S):
        assert (await asked(owner, ResultRequest(id=begun.id[:8], wait=True))).result == ANSWER
    await until(lambda: not owner.journal.in_background())
    removed = await asked(owner, RemoveRequest(id=begun.id))
    assert removed.errand.kind == "job"
    assert await asked(owner, JobsRequest()) == []


async def test_a_job_that_was_stopped_stays_so_until_it_is_resumed(world: World) -> None:
    worker, owner = await volunteer(world), await world.peer("owner", stays=True)
    begun = await asked(owner, request(world, worker))
    await until_some_is_done(owner)
    assert (await asked(owner, PauseRequest(id=begun.id))).state == "stopped"
    assert await state(owner) == "stopped"
    with pytest.raises(ConfigError, match="stopped already"):
        await asked(owner, PauseRequest(id=begun.id))
    await until(lambda: not owner.journal.in_background())
    await world.stop("owner")
    owner = await world.peer("owner", stays=True)
    assert await state(owner) == "stopped"
    assert not owner.jobs.claimed
    assert (await asked(owner, GoOnRequest(id=begun.id, background=True))).job is None
    with trio.fail_after(PATIENCE_S):
        assert (await asked(owner, ResultRequest(id=begun.id, wait=True))).result == ANSWER
    with pytest.raises(ConfigError, match="done"):
        await asked(owner, GoOnRequest(id=begun.id))


async def test_whoever_waits_for_a_job_that_is_stopped_is_told_how_to_go_on(world: World) -> None:
    worker, owner = await volunteer(world), await world.peer("owner", stays=True)
    run = request(world, worker).request
    async with trio.open_nursery() as nursery:

        async def command() -> None:
            with pytest.raises(JobError, match="shoal resume"):
                await asked(owner, run)

        nursery.start_soon(command)
        await until_some_is_done(owner)
        (row,) = await asked(owner, JobsRequest())
        await asked(owner, PauseRequest(id=row.job))
    with trio.fail_after(PATIENCE_S):
        went_on = await asked(owner, GoOnRequest(id=row.job))
    assert (went_on.errand.state, went_on.job.result) == ("done", ANSWER)


async def test_a_job_that_cannot_begin_is_told_at_once_and_one_that_fails_is_listed(world: World) -> None:
    worker, owner = await volunteer(world), await world.peer("owner", stays=True)
    missing = request(world, worker)
    (world.folder / "job.py").unlink()
    with pytest.raises(ConfigError, match=r"job\.py"):
        await asked(owner, missing)
    assert await asked(owner, JobsRequest()) == []
    begun = await asked(owner, request(world, worker, "def job(inputs):\n    raise ValueError('no')\n"))
    with pytest.raises(JobError):
        await asked(owner, ResultRequest(id=begun.id, wait=True))
    await until(lambda: not owner.journal.in_background())
    passing = await world.peer("passing")
    with pytest.raises(ConfigError, match="shoal node"):
        await asked(passing, request(world, worker))
    for verb in (PauseRequest, GoOnRequest, RemoveRequest):
        with pytest.raises(ConfigError, match="No fetch and no job"):
            await asked(owner, verb(id="zzzz"))
