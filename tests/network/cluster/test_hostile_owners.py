"""A listed owner with ill will: what it says costs the member no more than it was granted."""

from typing import Any

import msgspec
import pytest
import trio

from p2p.errors import MalformedMessage
from p2p.net import pace
from p2p.wire import cluster as wire
from p2p.wire import messages
from tests.network.cluster.test_lending import asking, last_word, listing
from tests.support.constants import Shorten
from tests.support.world import World


async def test_a_flood_of_words_is_heard_at_a_bounded_rate(world: World, shorten: Shorten) -> None:
    shorten(pace, "UNITS_PER_S", 200.0)
    shorten(pace, "BURST", 50.0)
    owner, member = await listing(world)
    async with asking(owner, member) as (connection, _):
        began = trio.current_time()
        for _ in range(250):
            await connection.send(wire.StillThere())
        await connection.send(wire.EndAllocation("enough"))
        assert isinstance(await last_word(connection), wire.EndAllocation)
        assert trio.current_time() - began > 0.9


@pytest.mark.parametrize("field", ["memory", "disk"])
def test_nobody_can_ask_for_nothing(field: str) -> None:
    sizes: dict[str, Any] = {"cores": 1, "memory": 1, "disk": 1, field: 0}
    ask = wire.AskAllocation(bytes(16), wire.AllocationRoom(**sizes))
    with pytest.raises(MalformedMessage):
        messages.decode(memoryview(bytearray(msgspec.msgpack.encode(ask))))
