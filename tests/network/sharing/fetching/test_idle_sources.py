"""Identities of one network that take all places of a fetch and give nothing: an honest source gets a place at once."""

from contextlib import suppress
from functools import partial

import pytest
import trio

from p2p.errors import PeerError
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire.messages import Have, Open
from tests.support.rogue_sources import Truth, behaviours
from tests.support.world import Rogue, World, bare, hint_of, start_rogue, until

FILES = {"large.bin": 8 * 1024 * 1024 + 17}
SOURCES = 8
ROGUES = 14


async def sit(rogue: Rogue, fetcher: Node, share: bytes, claims: Have) -> None:
    """Opens an exchange with a peer that fetches, and does nothing more; comes back when it is sent away."""
    while True:
        with suppress(PeerError):
            connection: Connection = await rogue.dialer.dial(hint_of(fetcher).address, fetcher.peer_id)
            try:
                await connection.send(Open(share=share), claims)
                while True:
                    message = await connection.receive()
                    if not isinstance(message, Have):
                        continue
            finally:
                connection.close()
        await trio.sleep(0.2)


@pytest.mark.parametrize("claim", ["nothing", "everything"])
async def test_a_source_of_another_network_is_used_at_once(world: World, claim: str) -> None:
    """A source that had every chunk was asked for none of them while forty idle ones sat in all places."""
    origin = await world.peer("origin", listen="127.9.0.1:0")
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher", max_sources=SOURCES)
    truth = Truth.of(origin, published.link.share_id)
    share = published.link.share_id
    claims = Have() if claim == "nothing" else Have(ranges=((0, truth.layout.chunks),))
    address = hint_of(origin).address
    await world.stop("origin")
    progress = Progress()
    async with trio.open_nursery() as nursery:
        silent = await start_rogue(nursery, fetcher, behaviours(truth)["silent"])
        hints = [silent.hint, published.hint]
        nursery.start_soon(partial(world.get, fetcher, bare(published.link), hints, progress=progress))
        await until(lambda: progress.sources)
        for _ in range(ROGUES):
            nursery.start_soon(sit, Rogue(fetcher, None), fetcher, share, claims)
        await until(lambda: fetcher.swarms.connections > SOURCES)
        await world.peer("origin", listen=str(address))
        with trio.fail_after(20):
            await until(lambda: progress.done)
        nursery.cancel_scope.cancel()
