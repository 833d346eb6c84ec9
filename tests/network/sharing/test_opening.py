"""Rogues that have large shares opened again and again: each is decoded once, within one bound of memory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2p.core.shares.layouts import weight
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.sharing import loading
from p2p.wire.frames import DataHeader
from p2p.wire.messages import BUSY, AnyMessage, Failed, Have, Open, Unknown
from tests.support.constants import Shorten
from tests.support.pipes import make_dialer
from tests.support.world import NETWORK, Published, World, bare, same_tree, until

FILES = {f"{number:03}.txt": 10 + number for number in range(300)}
OTHER = {f"{number:03}.txt": 20 + number for number in range(300)}


@pytest.fixture
async def origin(world: World) -> Node:
    return await world.peer("origin")


@asynccontextmanager
async def rogue(home: Path, node: Node) -> AsyncIterator[Connection]:
    connection = await make_dialer(home, NETWORK).dial(node.addresses[0], node.peer_id)
    try:
        with trio.fail_after(20):
            yield connection
    finally:
        connection.close()


async def opens(connection: Connection, published: Published) -> AnyMessage | Unknown:
    """Opens the share; what is answered."""
    await connection.send(Open(share=published.link.share_id))
    answer = await connection.receive()
    assert not isinstance(answer, DataHeader)
    return answer


async def test_a_share_is_decoded_once_for_all_who_open_it(tmp_path: Path, world: World, origin: Node) -> None:
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    async with AsyncExitStack() as stack:
        rogues = [await stack.enter_async_context(rogue(tmp_path / f"rogue{n}", origin)) for n in range(16)]
        async with trio.open_nursery() as nursery:
            for each in rogues:
                nursery.start_soon(opens, each, published)
        swarm = origin.sharing._swarms.get(share)
        assert swarm is not None
        layout = swarm.holding.layout
        assert len(swarm.members) == 16
        assert origin.library.layout(share) is layout
    await until(lambda: origin.sharing._swarms.get(share) is None)
    # Whoever opens it soon after finds it decoded, and so does an honest peer.
    for number in range(3):
        async with rogue(tmp_path / f"later{number}", origin) as connection:
            assert await opens(connection, published) == Have(ranges=((0, 300),))
    assert origin.library.layout(share) is layout
    fetcher = await world.peer("fetcher")
    await world.get(fetcher, bare(published.link), [published.hint])
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_a_network_owes_for_what_was_decoded_for_it(tmp_path: Path, world: World, shorten: Shorten) -> None:
    shorten(loading, "BURST_BYTES", 1)
    shorten(loading, "BYTES_PER_S", 1)
    origin = await world.peer("origin")
    one, other = await world.publish(origin, FILES), await world.publish(origin, OTHER, name="other")
    origin.library.layouts.most_bytes = 0  # nothing is kept
    async with rogue(tmp_path / "rogue", origin) as connection:
        assert await opens(connection, one) == Have(ranges=((0, 300),))
        async with rogue(tmp_path / "second", origin) as again:
            assert await opens(again, other) == Failed(reason=BUSY, share=other.link.share_id)
            assert await opens(again, one) == Have(ranges=((0, 300),))  # it is in memory


async def test_shares_that_are_of_no_use_make_room_and_others_do_not(
    tmp_path: Path, world: World, origin: Node, shorten: Shorten
) -> None:
    one, other = await world.publish(origin, FILES), await world.publish(origin, OTHER, name="other")
    origin.library.layouts.most_bytes = weight(origin.library.layout(one.link.share_id).manifest.root) + 100
    async with rogue(tmp_path / "user", origin) as user, rogue(tmp_path / "rogue", origin) as connection:
        assert await opens(user, one) == Have(ranges=((0, 300),))
        assert await opens(connection, other) == Failed(reason=BUSY, share=other.link.share_id)
        shorten(loading, "USEFUL_S", 0.0)
        assert await opens(connection, other) == Have(ranges=((0, 300),))
        assert origin.sharing._swarms.get(one.link.share_id) is None
