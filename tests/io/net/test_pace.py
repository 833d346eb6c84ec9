"""The pace of messages: what is dear is charged, and a map of a million chunks does not pass for a word."""

import pytest
import trio

from p2p.core.shares import bitmap
from p2p.ids import PeerId
from p2p.net import attention
from p2p.net.attention import Attention
from p2p.net.connection import Connection, Ends
from p2p.net.pace import BURST, BYTES_PER_UNIT, COSTLY, UNITS_PER_S, Pace
from p2p.wire import messages, work
from p2p.wire.messages import AnyMessage, Cancel, Gone, Have, Hello, Unknown, Want
from tests.support.pipes import connections, pipes

MILLION = 1_000_000
RANGES = tuple((n * 200, 100) for n in range(messages.MAX_RANGES))

PRICES: list[tuple[AnyMessage, int, float, float]] = [
    # message, chunks of the share, at least, at most
    (Want(first=0, count=1), 100, 1, 2),
    (Have(ranges=((5, 1),)), 100, 1, 2),
    (Have(ranges=((5, 1),)), MILLION, 10, 30),
    (Have(ranges=RANGES), MILLION, 100, 300),
    (Have(bits=bytes(MILLION // 8)), MILLION, 15, 50),
    (Gone(ranges=RANGES), MILLION, 100, 300),
    (messages.Choked(position=1), MILLION, 10, 30),
    (messages.Peers(peers=((bytes(32), "192.0.2.1", 1),) * 64), 100, 25, 100),
    (messages.GetPart(share=bytes(32), index=0), 0, 10, 30),
    (messages.Browse(), 0, 10, 100),
    (messages.Failed(reason="no"), 0, 1, 1),
    (work.JobEnd(bytes(32)), 100, 2, 5),
    (messages.Open(share=bytes(32)), 0, 20, 60),
    (messages.GetPointer(publisher=bytes(32), name="x"), 0, 20, 60),
    (messages.Offer(share=bytes(32)), 0, 2, 5),
    (work.GetCapacity(), 0, 2, 5),
    (work.CancelUnits((bytes(32),) * work.MAX_UNITS), 0, 2, 10),
    (work.Heartbeat((bytes(32),) * work.MAX_UNITS), 0, 2, 10),
]


def made(chunks: int = 0) -> Pace:
    """The pace of a connection that is alone."""
    return Pace(connections()[0], chunks)


@pytest.mark.parametrize(("message", "chunks", "least", "most"), PRICES, ids=lambda value: f"{value!r:.30}")
async def test_prices(message: AnyMessage, chunks: int, least: float, most: float) -> None:
    assert least <= made(chunks).cost(message) <= most


async def test_a_cancellation_costs_by_what_it_has_to_look_through() -> None:
    pace, cancel = made(10), Cancel(first=0, count=1)
    assert pace.cost(cancel, 8000) > COSTLY > 2 > pace.cost(cancel, 100)
    units = work.CancelUnits((bytes(32),))
    assert pace.cost(units, 8000) > 10 > 2 > pace.cost(units, 100)


async def test_a_flood_is_slowed_to_the_rate_whatever_it_is_made_of(autojump_clock: trio.testing.MockClock) -> None:
    for message in (Want(first=0, count=1), Have(ranges=RANGES)):
        pace = made(MILLION)
        began, units = trio.current_time(), 0.0
        while trio.current_time() < began + 20:
            await pace.spend(message)
            units += pace.cost(message)
        assert units <= BURST + 20 * UNITS_PER_S + 2 * pace.cost(message)


async def test_a_message_costs_at_least_what_its_bytes_cost(autojump_clock: trio.testing.MockClock) -> None:
    connection, size = connections()[0], 1024 * 1024
    connection.message_bytes = size
    pace, began, count = Pace(connection), trio.current_time(), 0
    while trio.current_time() < began + 20:
        await pace.spend(Unknown("something new"))
        count += 1
    assert count * size <= (BURST + 21 * UNITS_PER_S) * BYTES_PER_UNIT


async def test_floods_over_many_connections_share_one_rate_and_others_do_not_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    common, question, count, seconds = Attention(), work.GetCapacity(), 0, 10

    def pace_of(host: str) -> Pace:
        connection = Connection(pipes()[0], common)
        connection._greeted(Ends(PeerId(bytes(32)), PeerId(bytes(32)), Hello(), host, False))
        return Pace(connection)

    async def flood(host: str) -> None:
        nonlocal count
        pace = pace_of(host)
        while True:
            await pace.spend(question)
            count += 1

    async with trio.open_nursery() as nursery:
        for number in range(96):
            nursery.start_soon(flood, f"127.{number % 5 + 1}.1.{number + 1}")
        await trio.sleep(1)
        count, pace, began = 0, pace_of("127.9.1.1"), trio.current_time()
        for _ in range(100):
            await pace.spend(question)
        assert trio.current_time() == began
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    cost = pace.cost(question)
    assert 0.9 < count * cost / seconds / attention.UNITS_PER_S < 1.1


async def test_after_a_costly_message_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    pace = made(MILLION)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(10):
            await pace.spend(Have(ranges=RANGES))
        nursery.cancel_scope.cancel()
    assert turns >= 9


async def test_ranges_of_any_length_become_the_set_that_they_say() -> None:
    assert bitmap.of(RANGES) == sum(bitmap.span(first, count) for first, count in RANGES)
