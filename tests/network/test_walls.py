"""Every wall of a peer: whatever is thrown behind it, what was held is given back, and the peer lives and works on.

The walls are taken from the register, so that a new one is tried too, or the test says that nothing led to it.
"""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from random import Random

import pytest
import trio

from p2p.compute.owner import recruiter
from p2p.concurrency import walls
from p2p.concurrency.walls import WALLS
from tests.support.compiled import compiled as compiled
from tests.support.constants import Shorten
from tests.support.walls.saboteur import Saboteur
from tests.support.walls.ways import Way, attempt, open_ways
from tests.support.world import World, until

PATIENCE_S = 60.0
OF_THE_TRACKER = {
    "batch of announces",
    "dial-back",
    "feed of figures",
    "figures among the metrics",
    "periodic task of the tracker",
    "request over HTTP",
}
"""See tests/tracker/test_walls.py; for requests to a peer, tests/network/gateway/test_gateway.py."""
ELSEWHERE = {"command line", "beacon", "look at the local network"}
"""Not of these peers, which are not on the local network. For the beacon, see tests/io/net/test_lan.py; nothing here
leads to the other two.
"""
OF_CLUSTERS = {"allocation", "cluster", "conversation with a member", "output of a program in a cluster"}
"""There once a cluster was. For the first two, see tests/network/cluster/test_walls.py; nothing leads to the others."""
WITHOUT_A_PAUSE = {"datagram"}
"""What is behind these walls never waits, so nothing can be thrown in the middle."""
KEPT = {
    "periodic task of the peer",
    "part in the DHT",
    "upkeep of the DHT node",
    "announce to a tracker",
    "search for owners",
}
"""Tasks that last as long as the peer."""


@pytest.fixture
def saboteur() -> Iterator[Saboteur]:
    made = Saboteur(Random(1))
    with made.watching():
        yield made


async def test_nothing_thrown_behind_a_wall_ends_a_peer(
    world: World, compiled: None, saboteur: Saboteur, shorten: Shorten, expects_bugs: Callable[[int], None]
) -> None:
    shorten(recruiter, "REFUSED_RETRY_S", 0.1)
    shorten(recruiter, "FIND_INTERVAL_S", 0.1)
    before = walls.bugs.count
    async with open_ways(world) as ways:
        leads_to: dict[str, Way] = {}
        for way in ways.all:
            earlier = saboteur.entered.copy()
            await way()
            leads_to = dict.fromkeys(saboteur.entered - earlier, way) | leads_to

        tried = WALLS.keys() - OF_THE_TRACKER - ELSEWHERE - OF_CLUSTERS - KEPT
        assert sorted(tried - leads_to.keys()) == []
        for name in sorted(tried):
            throws = [partial(_arm, saboteur, name)]
            if name not in WITHOUT_A_PAUSE:
                throws.append(partial(saboteur.strike, name))
            for throw in throws:
                await _go_wrong(leads_to[name], throw)
                await ways.hold_nothing()
        with trio.fail_after(PATIENCE_S):
            for name in sorted(KEPT):
                await saboteur.strike(name)
                await _arm(saboteur, name)
                await saboteur.returned(name)
        for way in ways.all:
            await way()
    expects_bugs(walls.bugs.count - before)


async def _arm(saboteur: Saboteur, name: str) -> None:
    count = walls.bugs.count
    saboteur.armed.add(name)
    await until(lambda: walls.bugs.count > count)


async def _go_wrong(way: Way, throw: Callable[[], Awaitable[None]]) -> None:
    """Goes this way, again and again, until something was thrown. Then it may fail with words, and no more."""
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            thrown = trio.Event()

            async def go() -> None:
                while not thrown.is_set():
                    await attempt(way)

            nursery.start_soon(go)
            await throw()
            thrown.set()
