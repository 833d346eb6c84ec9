"""Finds seekers, which are peers that lack chunks of this peer's shares, and calls them.

Only a peer that cannot be dialled does this; a peer that can be dialled waits until seekers dial it. Seekers are found
in the DHT, where a peer publishes which shares it is fetching, with its addresses (`dht_publisher`). A tracker also
names seekers, in its answers to announces.
"""

from collections import deque
from collections.abc import Callable

import trio

from p2p.advertising.deps import Deps
from p2p.advertising.inventory import Inventory, InventoryEntry
from p2p.discovery.dht import Overlays
from p2p.ids import PeerId
from p2p.reach.calls import Calls
from p2p.wire.address import Address
from p2p.wire.records import Provider, Record, RecordKind
from p2p.wire.tracker import provider_key

LOOK_INTERVAL_S = 10.0
SHARES_AT_ONCE = 8
"""How many shares are looked up at a time; if there are more, they take turns."""
MIN_LOOK_INTERVAL_S = 3.0


class SeekerSearch:
    """Arranges calls to peers that lack chunks of this peer's shares."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._inventory = Inventory(deps.library, deps.disk, deps.swarms)

    async def run(self) -> None:
        """Looks for seekers until cancelled."""
        presence, changes, random = self._deps.presence, self._deps.changes, self._deps.random
        queue: deque[InventoryEntry] = deque()
        await self._deps.overlays.joined.wait()
        while True:
            if not presence.is_out_of_reach:
                await changes.after(changes.count)
                continue
            if not queue:
                queue.extend(one for one in await self._inventory.all() if any(one.held))
            async with trio.open_nursery() as nursery:
                for _ in range(min(SHARES_AT_ONCE, len(queue))):
                    nursery.start_soon(self._look, queue.popleft())
            news = changes.count
            with trio.move_on_after(LOOK_INTERVAL_S * (0.8 + 0.4 * random.random())):
                await trio.sleep(MIN_LOOK_INTERVAL_S)
                await changes.after(news)
                queue.clear()

    async def _look(self, entry: InventoryEntry) -> None:
        deps = self._deps
        heard = caller(deps.calls, deps.overlays, deps.presence.peer_id, entry.share)
        await deps.overlays.get(provider_key(entry.share), RecordKind.PROVIDER, heard)


def caller(calls: Calls, overlays: Overlays, own: PeerId, named: bytes) -> Callable[[Record], None]:
    """Returns a callback for DHT records, which arranges calls to peers that lack what is `named`.

    See `Calls.wanted`.
    """

    def heard(record: Record) -> None:
        payload = record.payload
        if isinstance(payload, Provider) and not payload.whole and record.publisher != own:
            for host, port in payload.addresses:
                if overlays.is_plausible(host):
                    calls.wanted(named, record.publisher, Address(host, port))

    return heard
