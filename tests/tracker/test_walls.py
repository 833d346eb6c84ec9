"""Nothing that is thrown behind a wall of the tracker ends it, or keeps others from it afterwards."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import httpx2
import pytest
import trio

from p2p.concurrency import walls
from p2p.identity import Identity
from p2p.net.http_server.guard import REQUEST
from p2p.wire.address import Address
from p2p.wire.tracker import Announce, sign_announce
from tests.support.announces import NETWORK, listing
from tests.support.constants import Shorten
from tests.support.walls.saboteur import Saboteur
from tests.support.world import until
from tracker import feed, service
from tracker.app import API, FIGURES
from tracker.dialback import DIAL
from tracker.feed import FEED
from tracker.server import Tracker, open_tracker
from tracker.service import UPKEEP
from tracker.writing import WRITING

OURS = {wall.name for wall in (DIAL, FEED, FIGURES, REQUEST, UPKEEP, WRITING)}
PATIENCE_S = 30.0


class Client:
    """Goes every way into a tracker."""

    def __init__(self, running: Tracker, client: httpx2.AsyncClient) -> None:
        self._running = running
        self._client = client

    async def asks(self) -> int:
        return (await self._client.get(f"{API}/statistics")).status_code

    async def announces(self) -> int:
        """A new peer each time, which says that it can be dialled where nobody listens."""
        said = Announce(self._running.url, NETWORK, 1, previous=0, reset=True, add=(listing(1, "gulls"),), port=9)
        body, headers = sign_announce(said, Identity.generate())
        return (await self._client.post(f"{API}/announce", content=body, headers=headers)).status_code

    async def hesitates(self) -> int:
        """Announces, but says nothing of it, until it is hung up on."""
        heard = b""
        async with await trio.open_tcp_stream("127.0.0.1", self._running.addresses[0].port) as stream:
            await stream.send_all(f"POST {API}/announce HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode())
            while more := await stream.receive_some():
                heard += more
        return int(heard.split(maxsplit=2)[1])

    async def listens(self) -> int:
        """Waits for the first figures."""
        heard = b""
        async with await trio.open_tcp_stream("127.0.0.1", self._running.addresses[0].port) as stream:
            await stream.send_all(f"GET {API}/events HTTP/1.1\r\nHost: tracker\r\n\r\n".encode())
            while b"event: statistics" not in heard and (more := await stream.receive_some()):
                heard += more
        return int(heard.split(maxsplit=2)[1]) if heard else 500

    async def measures(self) -> int:
        return (await self._client.get("/metrics")).status_code

    async def counts(self) -> float:
        """The bugs that the tracker has counted."""
        text = (await self._client.get("/metrics")).text
        (line,) = (line for line in text.splitlines() if line.startswith("shoal_tracker_bugs "))
        return float(line.split()[1])


@pytest.fixture
def saboteur() -> Iterator[Saboteur]:
    made = Saboteur(Random(1))
    with made.watching():
        yield made


@pytest.fixture
async def client(tmp_path: Path, shorten: Shorten) -> AsyncIterator[Client]:
    shorten(service, "TIDY_INTERVAL_S", 0.01)
    shorten(feed, "FEED_INTERVAL_S", 0.01)
    home = tmp_path / "tracker"
    home.mkdir()
    async with (
        open_tracker(tmp_path / "t.db", home, [Address("127.0.0.1", 0)], network=NETWORK) as running,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.addresses[0].port}", trust_env=False) as http,
    ):
        yield Client(running, http)


async def test_nothing_thrown_behind_a_wall_ends_a_tracker(
    client: Client, saboteur: Saboteur, expects_bugs: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    before = walls.bugs.count
    leads_to: dict[str, Callable[[], Awaitable[int]]] = {
        REQUEST.name: client.hesitates,
        WRITING.name: client.announces,
        DIAL.name: client.announces,
        FEED.name: client.listens,
        FIGURES.name: client.measures,
        UPKEEP.name: client.asks,
    }
    assert leads_to.keys() == OURS
    for name, way in leads_to.items():
        for throw in (partial(arm, saboteur, name), partial(saboteur.strike, name)):
            if name in {FEED.name, FIGURES.name, UPKEEP.name} and throw.func == saboteur.strike:
                continue  # what is behind these never waits for long enough
            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(again_and_again, way, nursery.cancel_scope)
                    await throw()
                    nursery.cancel_scope.cancel()
    with trio.fail_after(PATIENCE_S):
        assert [await way() for way in (client.asks, client.announces, client.listens)] == [200] * 3
        assert await client.counts() == walls.bugs.count
    expects_bugs(walls.bugs.count - before)


async def arm(saboteur: Saboteur, name: str) -> None:
    count = walls.bugs.count
    saboteur.armed.add(name)
    await until(lambda: walls.bugs.count > count)


async def again_and_again(way: Callable[[], Awaitable[int]], scope: trio.CancelScope) -> None:
    """Goes this way until it ends; a tracker that is out of order says so, and no more."""
    while not scope.cancel_called:
        with suppress(httpx2.HTTPError, trio.BrokenResourceError):  # the connection was closed
            assert await way() in {200, 500, 503}
        await trio.sleep(0.01)
