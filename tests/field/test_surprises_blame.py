"""A4: whose fault it is that a unit has no result is decided by who said it."""

import pytest
import trio

from p2p.errors import JobError
from p2p.progress import Progress
from tests.support.compiled import compiled as compiled
from tests.support.leaks import clean as clean
from tests.support.rogue_volunteers import answering, lasting, result
from tests.support.world import World, hint_of, start_rogue
from tests.support.world import world as world
from tests.support.world_jobs import SUM, run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled", "clean")

FORGED = """\
from p2p.jobs import session

real = session.Session.unit

def unit(self, *given):
    made = real(self, *given)
    return made._replace(blobs=[*made.blobs, b"one more"])

session.Session.unit = unit

def job(inputs):
    return inputs.range(8).map(lambda n: (n % 2, n)){shuffled}.collect()
"""


@pytest.mark.parametrize("shuffled", ["", ".reduce_by_key(max)"])
async def test_a_job_that_forges_the_number_of_outputs_is_to_blame(world: World, shuffled: str) -> None:
    """The honest volunteer was barred for it, and the owner ended with "Nobody works for this job"."""
    local, owner = await volunteer(world), await world.peer("owner")
    progress = Progress()
    path = write_job(world, FORGED.format(shuffled=shuffled))
    with pytest.raises(JobError, match=r"WrongOutputs: its unit answered with .* outputs instead of"):
        await run_job(owner, path, [hint_of(local)], progress=progress, partitions=2)
    assert progress.view is not None
    assert not progress.view.losses  # the volunteer was not dropped


async def test_a_volunteer_that_invents_outputs_does_not_end_the_job(world: World) -> None:
    """The owner's own guest shows that it was not the job."""
    owner, honest = await world.peer("owner"), await volunteer(world)
    many = answering(lambda unit: [result(unit, sizes=(1, 2, 3), inline=b"123456")])
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, owner, lasting(many))
        answer = await run_job(owner, write_job(world, SUM), [rogue.hint, hint_of(honest)], partitions=4)
        nursery.cancel_scope.cancel()
    assert answer.result == sum(i * i for i in range(60))
