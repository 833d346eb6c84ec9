"""The pace of messages: what is dear is charged, and a map of a million chunks does not pass for a word."""

import pytest
import trio

from p2p.core.shares import bitmap
from p2p.net.pace import BURST, COSTLY, UNITS_PER_S, Pace
from p2p.wire import messages, work
from p2p.wire.messages import AnyMessage, Cancel, Gone, Have, Want

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
    (work.CancelUnits((bytes(32),) * work.MAX_UNITS), 0, 2, 10),
    (work.Heartbeat((bytes(32),) * work.MAX_UNITS), 0, 2, 10),
]


@pytest.mark.parametrize(("message", "chunks", "least", "most"), PRICES, ids=lambda value: f"{value!r:.30}")
async def test_prices(message: AnyMessage, chunks: int, least: float, most: float) -> None:
    assert least <= Pace(chunks).cost(message) <= most


async def test_a_cancellation_costs_by_what_it_has_to_look_through() -> None:
    pace, cancel = Pace(10), Cancel(first=0, count=1)
    assert pace.cost(cancel, 8000) > COSTLY > 2 > pace.cost(cancel, 100)
    units = work.CancelUnits((bytes(32),))
    assert pace.cost(units, 8000) > 10 > 2 > pace.cost(units, 100)


async def test_a_flood_is_slowed_to_the_rate_whatever_it_is_made_of(autojump_clock: trio.testing.MockClock) -> None:
    for message in (Want(first=0, count=1), Have(ranges=RANGES)):
        pace = Pace(MILLION)
        began, units = trio.current_time(), 0.0
        while trio.current_time() < began + 20:
            await pace.spend(message)
            units += pace.cost(message)
        assert units <= BURST + 20 * UNITS_PER_S + 2 * pace.cost(message)


async def test_after_a_costly_message_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    pace = Pace(MILLION)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(10):
            await pace.spend(Have(ranges=RANGES))
        nursery.cancel_scope.cancel()
    assert turns >= 9


async def test_ranges_of_any_length_become_the_set_that_they_say() -> None:
    assert bitmap.of(RANGES) == sum(bitmap.span(first, count) for first, count in RANGES)
