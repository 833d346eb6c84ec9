"""Trackers that a request names: they are asked for the share, as those of a link are."""

from functools import partial

import httpx2
import trio

from p2p import ids
from p2p.gateway import application
from p2p.net.http import origin
from p2p.node import Node
from p2p.wire.tracker import SourcesAnswer
from tests.network.gateway.asking import http_client
from tests.support.constants import Shorten
from tests.support.http_trackers import response, start
from tests.support.world import World, until

NOBODY = ids.to_text(bytes(32))


def trusting(peer: Node, url: str) -> None:
    """Lets the peer use a tracker on loopback that only a link names, as if it were on the Internet."""
    peer.discovery.trackers.web._trusted.add(origin(url))


async def test_they_are_asked_whether_named_at_first_or_later(
    world: World, nursery: trio.Nursery, shorten: Shorten
) -> None:
    shorten(application, "WAIT_S", 1.0)
    peer = await world.peer("peer")
    one, other = [await start(nursery, lambda _: response(200, SourcesAnswer(sources=()))) for _ in range(2)]
    async with http_client(peer) as client:
        for server in (one, other):
            trusting(peer, server.url)
            nursery.start_soon(client.get, f"/s/{NOBODY}/?tracker={server.url}")
            await until(partial(getattr, server, "requests"))
        pointer = f"/n/{NOBODY}/news/?tracker={other.url}"
        before = len(other.requests)
        nursery.start_soon(client.get, pointer)
        await until(lambda: len(other.requests) > before)
        nursery.cancel_scope.cancel()


async def test_one_that_may_not_be_asked_is_told_of(world: World, shorten: Shorten) -> None:
    shorten(application, "WAIT_S", 1.0)
    peer = await world.peer("peer")
    async with http_client(peer) as client:
        told = await client.get(f"/s/{NOBODY}/a", params={"tracker": "http://127.0.0.1:9"})
        assert told.status_code == 504
        assert "--tracker http://127.0.0.1:9" in told.text
        for wrong in ("ftp://x", "nonsense"):
            answer: httpx2.Response = await client.get(f"/s/{NOBODY}/a", params={"tracker": wrong})
            assert answer.status_code == 400
