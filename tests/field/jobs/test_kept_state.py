"""C1: state that shows only in a guest that ran other units before is found by the owner too, and told by its name."""

import re

import msgspec
import pytest
import trio

from p2p.core.compute.report import Report
from p2p.errors import JobError
from p2p.progress import Progress
from tests.support.compiled import compiled as compiled
from tests.support.leaks import clean as clean
from tests.support.rogue_volunteers import answering, failure, lasting
from tests.support.world import World, hint_of, start_rogue
from tests.support.world import world as world
from tests.support.world_jobs import run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled", "clean")

CACHED = """\
from functools import lru_cache
@lru_cache
def table():
    return {}
"""
HELD = """\
from functools import cached_property
class Held:
    @cached_property
    def table(self):
        return {}
held = Held()
"""
FOUND = {
    "a result of table()": CACHED + "def f(n):\n    table()[n] = True\n    return n\n",
    "held.table": HELD + "def f(n):\n    held.table[0] = held.table.get(0, 0) + 1\n    return n\n",
}


@pytest.mark.parametrize("name", FOUND)
async def test_what_is_in_a_cache_is_named_and_no_honest_volunteer_is_barred(world: World, name: str) -> None:
    """Two honest volunteers were barred, and the owner was told that nobody takes the job."""
    one, other, owner = await volunteer(world, "one"), await volunteer(world, "other"), await world.peer("owner")
    progress = Progress()
    path = write_job(world, FOUND[name] + "def job(inputs):\n    return inputs.range(3000).map(f).count()\n")
    with pytest.raises(JobError, match=f"^StateKept: {re.escape(name)} changed while a unit ran"):
        await run_job(owner, path, [hint_of(one), hint_of(other)], progress=progress, partitions=40)
    assert progress.view is not None
    assert not progress.view.losses


@pytest.mark.parametrize("shuffled", ["", ".reduce_by_key(max)"])
async def test_volunteers_that_say_so_of_everything_do_not_end_the_job(world: World, shuffled: str) -> None:
    owner, honest = await world.peer("owner"), await volunteer(world)
    said = msgspec.json.encode(Report("job", "n changed while a unit ran", kind="StateKept")).decode()
    lie = lasting(answering(lambda unit: [failure(unit, "job", said)]))
    path = write_job(world, f"def job(inputs):\n    return inputs.range(9).map(lambda n: (n, n)){shuffled}.count()\n")
    async with trio.open_nursery() as nursery:
        rogues = [await start_rogue(nursery, owner, lie) for _ in range(2)]
        peers = [*(rogue.hint for rogue in rogues), hint_of(honest)]
        answer = await run_job(owner, path, peers, partitions=3)
        nursery.cancel_scope.cancel()
    assert answer.result == 9
