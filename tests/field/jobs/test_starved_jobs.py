"""A job whose input nobody sends any more says so, and gives up when its user said it should."""

from functools import partial

import pytest
import trio

from p2p.compute.execution import unit_inputs
from p2p.compute.owner import input_forms
from p2p.compute.volunteer import volunteering
from p2p.errors import NotFound
from p2p.progress import Progress
from tests.support.compiled import compiled as compiled
from tests.support.constants import Shorten
from tests.support.leaks import clean as clean
from tests.support.world import World, hint_of, until
from tests.support.world import world as world
from tests.support.world_jobs import SUM, run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled", "clean")

LINES = "def job(inputs):\n    return inputs.lines().count()\n"


async def test_a_job_whose_inputs_nobody_sends_says_so_and_ends(world: World, shorten: Shorten) -> None:
    """Volunteers waited ten minutes for each part, which the user was not told, and `--wait` did not count it."""
    shorten(unit_inputs, "STARVED_S", 0.3)
    shorten(input_forms, "FETCH_TIMEOUT_S", 0.3)
    origin, owner, node = await world.peer("origin"), await world.peer("owner"), await volunteer(world, cores=2)
    published = await world.publish(origin, {"some.txt": 5000})
    (path,) = published.path.rglob("some.txt")
    path.unlink()  # its list of files is still there
    job = write_job(world, LINES)
    inputs = (origin.discovery.links.to(published.link.share_id, "some", 5000),)
    progress = Progress()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with pytest.raises(NotFound, match="Nobody works for this job: no peer sends what the units need of"):
                await run_job(owner, job, [hint_of(node)], progress=progress, inputs=inputs, wait_s=0.5)

        nursery.start_soon(run)
        await until(lambda: progress.view is not None and "no peer sends" in progress.view.why)


async def test_a_starved_job_makes_room_for_whoever_waits(world: World, shorten: Shorten) -> None:
    """It held a volunteer's core for an hour, the longest that a unit may take, and cost its owner nothing."""
    shorten(unit_inputs, "STARVED_S", 0.3)
    shorten(input_forms, "FETCH_TIMEOUT_S", 0.3)
    shorten(volunteering, "IDLE_TIMEOUT_S", 1.0)
    origin, node = await world.peer("origin"), await volunteer(world)
    starver, owner = await world.peer("starver"), await world.peer("owner")
    published = await world.publish(origin, {"some.txt": 5000})
    (path,) = published.path.rglob("some.txt")
    path.unlink()
    inputs = (origin.discovery.links.to(published.link.share_id, "some", 5000),)
    progress = Progress()
    async with trio.open_nursery() as nursery:
        starving = partial(run_job, starver, write_job(world, LINES), [hint_of(node)], progress=progress)
        nursery.start_soon(partial(starving, inputs=inputs, wait_s=None))
        await until(lambda: progress.view is not None and "no peer sends" in progress.view.why)
        answer = await run_job(owner, write_job(world, SUM, "sum.py"), [hint_of(node)])
        assert answer.result == sum(i * i for i in range(60))
        nursery.cancel_scope.cancel()
