"""How volunteers misbehave: each accepts the job, and then does what its name says."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from p2p.compute.execution.unit import pieces, result_digest
from p2p.core.compute.report import Report
from p2p.errors import PeerError, PeerGone
from p2p.net.connection import Connection
from p2p.wire import work

MIB = 1024 * 1024
OUTPUT = b"no result of any unit"

Behaviour = Callable[[Connection], Awaitable[None]]
Answer = Callable[[work.Unit], list[Any]]


async def asked(connection: Connection) -> tuple[work.Unit, ...]:
    """Receives the next units that the owner sends. Raises PeerGone at the job's end."""
    while not isinstance(message := await connection.receive(), work.Units):
        if isinstance(message, work.JobEnd):
            raise PeerGone("the job is over")
    return message.units


async def take(connection: Connection, slots: int = 2, window: int = 64) -> work.JobOffer:
    while not isinstance(offer := await connection.receive(), work.JobOffer):
        await connection.send(work.CapacityIs())
    await connection.send(work.JobAccepted(slots, window))
    return offer


async def beat(connection: Connection, *ids: bytes) -> None:
    """Sends heartbeats until it is cancelled."""
    while True:
        await connection.send(work.Heartbeat(ids))
        await trio.sleep(0.5)


def answering(answer: Answer, slots: int = 2) -> Behaviour:
    """Behaves like a volunteer that gives this answer for each unit."""

    async def behave(connection: Connection) -> None:
        await take(connection, slots)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, connection)
            while True:
                for unit in await asked(connection):
                    await connection.send(*answer(unit))

    return behave


def result(unit: work.Unit, **changed: Any) -> work.Results:
    """A well-formed result with these fields changed."""
    made = work.Result(unit.id, result_digest([OUTPUT]), (len(OUTPUT),), OUTPUT)
    return work.Results((msgspec.structs.replace(made, **changed),))


def failure(unit: work.Unit, kind: str, text: str = "", log: bytes = b"") -> work.Results:
    return work.Results((work.Result(unit.id, kind=kind, text=text, log=log),))


def report(unit: work.Unit) -> str:
    return msgspec.json.encode(Report("job", "I say so", kind="ValueError", traceback="none")).decode()


async def silent(connection: Connection) -> None:
    await take(connection)
    await trio.sleep_forever()


async def stalls(connection: Connection) -> None:
    await take(connection)
    await beat(connection)


async def boasts(connection: Connection) -> None:
    """Offers more capacity than exists, and does nothing."""
    await take(connection, slots=4096, window=65536)
    await beat(connection)


async def vanishes(connection: Connection) -> None:
    await take(connection)
    await asked(connection)


async def refuses_afterwards(connection: Connection) -> None:
    await take(connection)
    await asked(connection)
    await connection.send(work.JobRefused("no longer"))


async def gives_nothing(connection: Connection) -> None:
    await take(connection)
    await connection.send(work.Slots(0))
    for unit in await asked(connection):
        await connection.send(failure(unit, "broken"))
    await beat(connection)


async def slots_for_ever(connection: Connection) -> None:
    await take(connection)
    while True:
        await connection.send(*[work.Slots(4096), work.Slots(0)] * 100)


async def beats_for_ever(connection: Connection) -> None:
    await take(connection)
    ids = tuple(os.urandom(32) for _ in range(1024))
    while True:
        await connection.send(*[work.Heartbeat(ids)] * 10)


async def results_for_ever(connection: Connection) -> None:
    """Sends results of units that do not exist."""
    await take(connection)
    while True:
        units = [work.Unit(os.urandom(32), 0, 0, 0, bytes(32)) for _ in range(1000)]
        await connection.send(work.Results(tuple(result(unit).results[0] for unit in units)))


async def large_results_for_ever(connection: Connection) -> None:
    """Sends results of units that do not exist, each complete and well-formed."""
    await take(connection)
    body = bytes(MIB)
    while True:
        unit = work.Unit(os.urandom(32), 0, 0, 0, bytes(32))
        await connection.send(*pieces(unit.id, body))
        await connection.send(result(unit, digest=result_digest([body]), sizes=(MIB,), inline=b""))


async def things_for_ever(connection: Connection) -> None:
    await take(connection)
    for _ in range(1_000_000):
        await connection.send(work.Bytes(os.urandom(32), 0, MIB, bytes(1000)))


async def a_thing_without_end(connection: Connection) -> None:
    await take(connection)
    body = bytes(work.MAX_PIECE_BYTES)
    of = os.urandom(32)
    for number in range(1_000_000):
        await connection.send(work.Bytes(of, number * len(body), 64 * MIB, body))


async def speaks_as_an_owner(connection: Connection) -> None:
    await take(connection)
    await connection.send(work.Units(await asked(connection)))


async def kills_the_stream(connection: Connection) -> None:
    await take(connection)
    await asked(connection)
    await connection._stream.send_all(os.urandom(4096))
    await trio.sleep_forever()


def large(unit: work.Unit, body: bytes) -> list[Any]:
    """Sends a result in pieces."""
    told = result(unit, digest=result_digest([body]), sizes=(len(body),), inline=b"")
    return [*pieces(unit.id, body), told]


BEHAVIOURS: dict[str, Behaviour] = {
    "sizes that do not sum": answering(lambda unit: [result(unit, sizes=(5,))]),
    "sizes beyond measure": answering(lambda unit: [result(unit, sizes=(2**53 - 1,))]),
    "no sizes": answering(lambda unit: [result(unit, sizes=(), inline=b"", digest=result_digest([]))]),
    "four thousand sizes": answering(lambda unit: [result(unit, sizes=(0,) * 4096, inline=b"")]),
    "a wrong digest": answering(lambda unit: [result(unit, digest=bytes(32))]),
    "no digest": answering(lambda unit: [result(unit, digest=b"")]),
    "a digest of other bytes": answering(lambda unit: [result(unit, inline=b"x" * len(OUTPUT))]),
    "other bytes in pieces": answering(
        lambda unit: [*pieces(unit.id, bytes(MIB)), *large(unit, b"y" * MIB)[-1:]],
    ),
    "more than was said": answering(
        lambda unit: [*pieces(unit.id, bytes(MIB)), result(unit, sizes=(1000,), inline=b"")]
    ),
    "pieces without a result": answering(lambda unit: list(pieces(unit.id, bytes(MIB)))),
    "a piece without the others": answering(lambda unit: list(pieces(unit.id, bytes(MIB))[:1])),
    "pieces out of order": answering(lambda unit: list(reversed(pieces(unit.id, bytes(MIB))))),
    "the job is at fault": answering(
        lambda unit: [failure(unit, ("job", "plan", "limit")[unit.partition % 3], report(unit))], slots=1
    ),
    "a report that is no JSON": answering(lambda unit: [failure(unit, "job", "[" * 10_000)]),
    "broken": answering(lambda unit: [failure(unit, "broken", "\x1b[2J" * 1000)]),
    "inputs are missing": answering(lambda unit: [failure(unit, "input", "nobody has them")]),
    "a kind of its own": answering(lambda unit: [failure(unit, "mutiny")]),
    "much to tell": answering(lambda unit: [failure(unit, "broken", "x" * 30_000, b"y" * work.MAX_LOG)]),
    "kept, though not": answering(lambda unit: [result(unit, sizes=(10**6,), inline=b"", kept=True)]),
    **{
        function.__name__: function
        for function in (
            silent,
            stalls,
            boasts,
            vanishes,
            refuses_afterwards,
            gives_nothing,
            slots_for_ever,
            beats_for_ever,
            results_for_ever,
            large_results_for_ever,
            things_for_ever,
            a_thing_without_end,
            speaks_as_an_owner,
            kills_the_stream,
        )
    },
}


def keeping(*sizes: int) -> Behaviour:
    """Claims to keep outputs of these sizes, for each unit whose output others are to read."""

    def answer(unit: work.Unit) -> list[Any]:
        if not unit.keep:
            return [failure(unit, "broken")]
        return [result(unit, sizes=sizes, inline=b"", digest=os.urandom(32), kept=True)]

    return answering(answer)


KEEPERS = {
    "kept, by word alone": keeping(*[1000] * 8),
    "more kept than there is": keeping(*[2**50] * 8),
    "another size kept": keeping(*[7 * MIB] * 8),
}


def lasting(behave: Behaviour) -> Behaviour:
    """The behaviour, but ending without an error when the owner closes the connection."""

    async def whole(connection: Connection) -> None:
        try:
            await behave(connection)
        except* PeerError:
            pass

    return whole
