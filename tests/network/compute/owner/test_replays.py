"""Volunteers that answer for units which are not theirs (any more), each answer well-formed: none of it counts."""

import pytest
import trio

from p2p.compute.owner import recruiter
from p2p.net.connection import Connection
from p2p.wire import work
from p2p.wire.link import PeerHint
from tests.support.constants import Shorten
from tests.support.rogue_volunteers import Behaviour, asked, beat, failure, large, lasting, result, take
from tests.support.world import World, hint_of, start_rogue
from tests.support.world_jobs import MIB, SUM, run_job, volunteer, write_job


@pytest.fixture(autouse=True)
def lively(shorten: Shorten) -> None:
    """Who is lost is looked for again at once."""
    shorten(recruiter, "FIND_INTERVAL_S", 0.1)
    shorten(recruiter, "REFUSED_RETRY_S", 0.2)


class Accomplices:
    """Two volunteers that know what the other was given: one has units, the other answers for them."""

    def __init__(self) -> None:
        self.units: tuple[work.Unit, ...] = ()
        self.have = trio.Event()
        self.said = trio.Event()

    async def has(self, connection: Connection) -> None:
        """Takes units, and does nothing but be there until the other has spoken."""
        await take(connection, slots=8)
        self.units = await asked(connection)
        self.have.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, connection)
            await self.said.wait()
            nursery.cancel_scope.cancel()

    async def answers(self, connection: Connection) -> None:
        """For the other's units, as many as it was given itself."""
        await take(connection)
        own = await asked(connection)
        await self.have.wait()
        assert not {unit.id for unit in own} & {unit.id for unit in self.units}
        for unit in self.units[: len(own)]:
            await connection.send(result(unit))
        self.said.set()


class Returning:
    """Comes back after it was lost, and answers for what it had before."""

    def __init__(self) -> None:
        self.units: tuple[work.Unit, ...] = ()
        self.said = trio.Event()

    async def behave(self, connection: Connection) -> None:
        if not self.units:
            await take(connection, slots=16)
            self.units = await asked(connection)
            return
        await take(connection, slots=1, window=1)
        own = await asked(connection)
        now = {unit.id for unit in own}
        before = [unit for unit in self.units if unit.id not in now]
        assert before
        for unit in before[: len(own)]:
            await connection.send(result(unit))
        self.said.set()


class Twice:
    """Fails, and answers all the same: within one message, and with something large."""

    def __init__(self) -> None:
        self.said = trio.Event()

    async def behave(self, connection: Connection) -> None:
        await take(connection, slots=16)
        own = await asked(connection)
        once = [failure(unit, "broken").results[0] for unit in own[::2]]
        again = [result(unit).results[0] for unit in own[::2]]
        await connection.send(work.Results(tuple(once + again)))
        self.said.set()


class OtherBytes:
    """Answers with the pieces of another unit's result."""

    def __init__(self) -> None:
        self.said = trio.Event()

    async def behave(self, connection: Connection) -> None:
        await take(connection, slots=16)
        first, second, *_ = await asked(connection)
        whole = large(first, b"y" * MIB)
        await connection.send(*whole[:-1], *large(second, b"z" * MIB)[-1:])
        self.said.set()


def once(said: trio.Event, behave: Behaviour) -> Behaviour:
    """It leaves then, and does not come again."""

    async def whole(connection: Connection) -> None:
        if said.is_set():
            await connection.receive()
            await connection.send(work.JobRefused("never again"))
        else:
            await behave(connection)

    return lasting(whole)


def cases() -> dict[str, tuple[trio.Event, list[Behaviour]]]:
    both, returning, twice, other = Accomplices(), Returning(), Twice(), OtherBytes()
    return {
        "another's unit": (both.said, [both.has, both.answers]),
        "a unit of before": (returning.said, [returning.behave]),
        "the same unit twice": (twice.said, [twice.behave]),
        "another's bytes": (other.said, [other.behave]),
    }


async def test_answers_that_are_not_theirs_to_give(world: World) -> None:
    local, owner = await volunteer(world), await world.peer("owner")
    assert local.volunteering is not None
    for name, (said, behaviours) in cases().items():
        local.volunteering.pause(True)
        answers: list[object] = []
        async with trio.open_nursery() as nursery:
            rogues = [await start_rogue(nursery, owner, once(said, behave)) for behave in behaviours]
            hints = [*(rogue.hint for rogue in rogues), hint_of(local)]

            async def run(hints: list[PeerHint] = hints, answers: list[object] = answers) -> None:
                answers.append((await run_job(owner, write_job(world, SUM), hints, partitions=40)).result)
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            await said.wait()
            local.volunteering.pause(False)
        assert answers == [sum(i * i for i in range(60))], name
    assert not list((owner.home / "jobs").iterdir())
