"""Into how many units a job is cut: by the cores that are found when it begins, and never again otherwise."""

from contextlib import suppress

import pytest
import trio

from p2p.core.compute.partitions import chosen_bytes
from p2p.errors import NotFound, PeerError
from p2p.net.connection import Connection
from p2p.progress import JobView, Progress
from p2p.wire import work
from p2p.wire.tracker import Capacity
from tests.support.world import PATIENCE_S, World, hint_of, start_rogue
from tests.support.world_jobs import MIB, run_job, volunteer, write_job

LINES = "def job(inputs):\n    return inputs.lines().count()\n"
ITEMS = "def job(inputs):\n    return inputs.range(1000).sum()\n"
SIZE = 8 * MIB
CORES = 1000


async def boasts(connection: Connection) -> None:
    """Offers many cores, and takes no job."""
    with suppress(PeerError):
        while True:
            if isinstance(await connection.receive(), work.GetCapacity):
                await connection.send(work.CapacityIs(Capacity(("python-wasm",), CORES, 2**40)))
            else:
                await connection.send(work.JobRefused("no time"))


def units(progress: Progress) -> int:
    """Of the first stage."""
    assert isinstance(progress.view, JobView)
    count: int = progress.view.stages[0].units
    return count


async def test_a_job_that_goes_on_is_cut_as_when_it_began(world: World) -> None:
    owner, local = await world.peer("owner"), await volunteer(world)
    text = world.folder / "text.txt"
    text.write_bytes(b"0123456\n" * (SIZE // 8))
    assert local.volunteering is not None
    local.volunteering.pause(True)
    job = write_job(world, LINES)
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, owner, boasts)
        hints = [rogue.hint, hint_of(local)]
        with pytest.raises(NotFound):
            await run_job(owner, job, hints, inputs=(str(text),), wait_s=0.3, runtime="python-wasm")
        nursery.cancel_scope.cancel()
    local.volunteering.pause(False)
    progress = Progress()
    (listed,) = await owner.jobs.listed()
    with trio.fail_after(PATIENCE_S):
        answer = await owner.jobs.resume(listed.job, progress)
    assert answer.result == SIZE // 8
    many, few = SIZE // chosen_bytes(SIZE, CORES), SIZE // chosen_bytes(SIZE, 1)
    assert units(progress) == many > few


async def test_items_are_cut_for_the_cores_that_are_found(world: World) -> None:
    owner, local = await world.peer("owner"), await volunteer(world, cores=3)
    progress = Progress()
    answer = await run_job(owner, write_job(world, ITEMS), [hint_of(local)], progress=progress)
    assert answer.result == sum(range(1000))
    assert units(progress) == 12
