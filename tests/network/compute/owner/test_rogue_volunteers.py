"""Volunteers that lie, stall or flood beside one that works: the job is right, its owner's home stays small."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from p2p.compute.execution import reassembly
from p2p.core.compute import crew
from p2p.errors import JobError, NotFound
from p2p.node import Node
from tests.support.constants import Shorten
from tests.support.rogue_volunteers import BEHAVIOURS, KEEPERS, lasting
from tests.support.world import World, hint_of, start_rogue
from tests.support.world_jobs import MIB, run_job, volunteer, write_job

JOB = """
def work(n):
    return sum(i * i % 7 for i in range(20_000)) * 0 + n


def job(inputs, n: int = 60):
    return inputs.range(n).map(work).sum()
"""
SHUFFLE = """
def job(inputs, n: int = 600):
    pairs = inputs.range(n).map(lambda i: (i % 7, i))
    return pairs.reduce_by_key(lambda a, b: a + b).map(lambda pair: pair[1]).sum()
"""
TOGETHER = 3
"""One less than the times that a unit is tried before its job ends."""
NAMES = list(BEHAVIOURS)
GROUPS = [NAMES[at : at + TOGETHER] for at in range(0, len(NAMES), TOGETHER)]


@pytest.fixture(autouse=True)
def lively(shorten: Shorten) -> None:
    """What is for long units, or for large disks, is for short and small ones here."""
    shorten(crew, "UNKNOWN_STRAGGLER_S", 0.5)
    shorten(reassembly, "MAX_SPOOLED_BYTES", 8 * MIB)


async def largest(local: Node, *, task_status: trio.TaskStatus[list[int]]) -> None:
    """Keeps the most bytes that the folders of its jobs ever had."""
    most = [0]
    task_status.started(most)
    while True:
        size = 0
        for folder, _, names in os.walk(local.home / "jobs"):
            for name in names:
                with suppress(FileNotFoundError):
                    size += Path(folder, name).stat().st_size  # noqa: ASYNC240 - quick
        most[0] = max(most[0], size)
        await trio.sleep(0.05)


@pytest.mark.parametrize("names", GROUPS, ids=", ".join)
async def test_rogues_beside_one_that_works(world: World, names: list[str]) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    async with trio.open_nursery() as nursery:
        size: list[int] = await nursery.start(largest, owner)
        rogues = [await start_rogue(nursery, owner, lasting(BEHAVIOURS[name])) for name in names]
        hints = [*(rogue.hint for rogue in rogues), hint_of(local)]
        answer = await run_job(owner, write_job(world, JOB), hints, partitions=30)
        nursery.cancel_scope.cancel()
    assert answer.result == sum(range(60))
    assert size[0] < 3 * 8 * MIB + MIB
    assert not list((owner.home / "jobs").iterdir())


@pytest.mark.parametrize("name", ["kept, by word alone", "more kept than there is", "another size kept"])
async def test_rogues_that_keep_nothing_beside_one_that_works(world: World, name: str) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, owner, lasting(KEEPERS[name]))
        said, result = "", None
        try:
            answer = await run_job(owner, write_job(world, SHUFFLE), [rogue.hint, hint_of(local)], partitions=6)
            result = answer.result
        except JobError as error:
            said = str(error)
        nursery.cancel_scope.cancel()
    # Who is believed, and says that it has made something else than the others, can end the job with these words.
    assert "or a volunteer lied" in said if said else result == sum(range(600))
    assert not said or name != "more kept than there is"
    assert not list((owner.home / "jobs").iterdir())


async def test_what_only_a_rogue_was_asked_for_the_owner_does_itself(world: World) -> None:
    """Four of them, or one four times, do not end a job that is fine."""
    owner = await world.peer("owner")
    async with trio.open_nursery() as nursery:
        rogues = [await start_rogue(nursery, owner, lasting(BEHAVIOURS["broken"])) for _ in range(4)]
        hints = [rogue.hint for rogue in rogues]
        answer = await run_job(owner, write_job(world, JOB), hints, partitions=2)
        nursery.cancel_scope.cancel()
    assert answer.result == sum(range(60))


async def test_with_only_a_rogue_the_job_says_why_it_ends(world: World) -> None:
    owner = await world.peer("owner")
    job = write_job(world, JOB)
    for name, says in (
        (
            "a wrong digest",
            "1 left out by this peer: it failed too often in this job, last with: a result that is not what it says",
        ),
        ("gives_nothing", "Nobody works for this job: the volunteers are paused, or busy with other jobs"),
        ("vanishes", "1 peer found, none takes the job: 1 said: the peer closed the connection"),
    ):
        async with trio.open_nursery() as nursery:
            rogue = await start_rogue(nursery, owner, lasting(BEHAVIOURS[name]))
            with pytest.raises((JobError, NotFound), match=says):
                await run_job(owner, job, [rogue.hint], partitions=1, wait_s=1.0)
            nursery.cancel_scope.cancel()
