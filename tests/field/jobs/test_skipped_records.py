"""D4: one bad record does not end a job that says `on_error="skip"`: it is left out, counted and told."""

import msgspec
import pytest
import trio

from p2p.compute.answers import JobAnswer
from p2p.core.compute.report import Report
from p2p.errors import JobError
from p2p.node import Node
from p2p.progress import Progress
from tests.support.compiled import compiled as compiled
from tests.support.leaks import clean as clean
from tests.support.rogue_volunteers import answering, lasting, result, vanishes
from tests.support.world import World, hint_of, start_rogue, until
from tests.support.world import world as world
from tests.support.world_jobs import run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled", "clean")

ONE_IN_TEN = """\
def work(n):
    return n // (n % 10) * (n % 10) * 0 + n

def job(inputs):
    kept = inputs.range(60).map(work, on_error="skip")
    return [kept.count(), kept.map(lambda n: (n % 3, 1)).reduce_by_key(lambda a, b: a + b).count()]
"""
SLOW = """\
def work(n):
    return sum(i % 7 for i in range(20_000)) * 0 + n // (n % 10) * 0 + n

def job(inputs):
    return inputs.range(60).map(work, on_error="skip").count()
"""


def told(answer: JobAnswer) -> list[tuple[str, str]]:
    first = answer.first_skipped
    assert isinstance(first, tuple)
    assert {(one.operation, one.line, one.file) for one in first} == {("map", 2, "job.py")}
    assert all(one.error.startswith("ZeroDivisionError: ") for one in first)
    return [(one.unit, one.record) for one in first]


async def test_bad_records_are_left_out_counted_and_told(world: World) -> None:
    """joblib#522, lithops#329: one bad record ended a job of 400 GB."""
    one, other, owner = await volunteer(world, "one"), await volunteer(world, "other"), await world.peer("owner")
    progress = Progress()
    answer = await run_job(
        owner, write_job(world, ONE_IN_TEN), [hint_of(one), hint_of(other)], progress=progress, partitions=6
    )
    assert answer.result == [54, 3]
    assert answer.skipped == 12
    assert told(answer) == [(f"{action}.0.{part}", str(part * 10)) for action in range(2) for part in range(6)]
    assert progress.view is not None
    assert progress.view.skipped == 12
    assert not progress.view.failures
    assert await owner.jobs.result(answer.job) == answer


async def test_too_many_end_the_job_with_the_first_of_them(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    path = write_job(world, ONE_IN_TEN)
    said = (
        r"records were skipped because of errors, and --max-skipped allows 8.*\n  unit 0\.0\.\d, map, line 2: ZeroDiv"
    )
    with pytest.raises(JobError, match=said):
        await run_job(owner, path, [hint_of(local)], partitions=6, max_skipped=8)
    assert (await run_job(owner, path, [hint_of(local)], partitions=6, max_skipped=12)).skipped == 12


async def test_the_count_is_exact_though_units_run_twice(world: World) -> None:
    owner, honest = await world.peer("owner"), await volunteer(world)
    async with trio.open_nursery() as nursery:
        rogues = [await start_rogue(nursery, owner, lasting(vanishes)) for _ in range(3)]
        peers = [*(rogue.hint for rogue in rogues), hint_of(honest)]
        progress = Progress()
        answer = await run_job(owner, write_job(world, ONE_IN_TEN), peers, progress=progress, partitions=30)
        nursery.cancel_scope.cancel()
    assert progress.view is not None
    assert progress.view.losses
    assert (answer.result, answer.skipped) == ([54, 3], 12)


@pytest.mark.parametrize("claims", [10**9, -1])
async def test_a_volunteer_that_invents_skipped_records_does_not_end_the_job(world: World, claims: int) -> None:
    """What would end the job is first seen by the owner's own guest. -1: the right number, and no reports."""
    owner, honest = await world.peer("owner"), await volunteer(world)
    lie = Report("job", "I say so", kind="ValueError", line=2, operation="map")
    text = msgspec.json.encode([lie]).decode() if claims > 0 else "nonsense"
    lies = answering(lambda unit: [result(unit, skipped=abs(claims), text=text)])
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, owner, lasting(lies))
        answer = await run_job(owner, write_job(world, ONE_IN_TEN), [rogue.hint, hint_of(honest)], partitions=6)
        nursery.cancel_scope.cancel()
    assert (answer.result, answer.skipped) == ([54, 3], 12)
    told(answer)


FORGED = """\
from p2p.jobs import session

real = session.Session.unit
session.Session.unit = lambda self, *given: real(self, *given)._replace(skipped=5)

def job(inputs):
    return inputs.range(8).count()
"""


async def test_a_job_that_says_it_skips_where_nothing_may_be_skipped_is_to_blame(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    progress = Progress()
    with pytest.raises(JobError, match="5 skipped records, where none may be skipped"):
        await run_job(owner, write_job(world, FORGED), [hint_of(local)], progress=progress, partitions=2)
    assert progress.view is not None
    assert not progress.view.losses


async def until_some_are_done(owner: Node, progress: Progress) -> None:
    await until(lambda: progress.view is not None and progress.view.units_done >= 8)


async def test_a_job_that_is_resumed_knows_what_was_skipped_before(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    progress = Progress()

    async def run() -> None:
        await run_job(owner, write_job(world, SLOW), [hint_of(local)], progress=progress, partitions=60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until_some_are_done(owner, progress)
        nursery.cancel_scope.cancel()
    (listed,) = await owner.jobs.listed()
    answer = await owner.jobs.resume(listed.job, Progress())
    assert (answer.result, answer.skipped) == (54, 6)
    assert told(answer) == [(f"0.0.{n}", str(n)) for n in range(0, 60, 10)]
