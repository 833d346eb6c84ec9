"""Reads shares into memory when strangers ask for them: once for all who ask, one at a time, within one bound.

The manifest of a large share takes a second to decode. A network owes for the bytes that were decoded for it, and is
refused until it has made up for them; a share that is in memory costs it nothing. If memory is lacking, the served
share that was of use longest ago goes: a share keeps its place by the chunks that are sent of it.
"""

from collections.abc import Callable

import trio

from p2p.bucket import TokenBuckets
from p2p.core.shares.layouts import weight
from p2p.errors import Refused
from p2p.ids import ShareId
from p2p.sharing.swarm import Swarm
from p2p.store.disk import Disk
from p2p.store.library import Library, SharedFiles
from p2p.wire.address import prefix
from p2p.wire.messages import BUSY

BYTES_PER_S = 2 * 1024 * 1024
"""How many bytes of manifests are decoded per second for one network, once it has used up `BURST_BYTES`."""
BURST_BYTES = 64 * 1024 * 1024
MAX_NETWORKS = 10_000
USEFUL_S = 10.0
"""How long a share keeps its place after the last chunk that was sent of it, or after it was opened."""


class Loading:
    """Loads what a peer serves. `drop` ends the exchanges of a share that gives up its place."""

    def __init__(self, library: Library, disk: Disk, drop: Callable[[ShareId, str], None]) -> None:
        self._library = library
        self._disk = disk
        self._drop = drop
        self._turn = trio.Lock()
        self._networks = TokenBuckets(BYTES_PER_S, BURST_BYTES, MAX_NETWORKS)

    async def load(self, share: ShareId, host: str, served: Callable[[], list[Swarm]]) -> SharedFiles:
        """Loads a share for a peer at `host`. `served` are the swarms that serve from the library now.

        Raises NotFound, BadData; Refused if the peer should ask again later.
        """
        library, network = self._library, prefix(host)
        needed = await self._disk.run(library.weight, share)
        if library.layouts.get(share) is not None:
            return await self._disk.run(SharedFiles, library, share)
        async with self._turn:
            if self._networks.wait(network, trio.current_time()):
                raise Refused(BUSY)
            self._make_room(needed, served())
            self._networks.take(network, needed, trio.current_time())
            return await self._disk.run(SharedFiles, library, share)

    def _make_room(self, needed: int, served: list[Swarm]) -> None:
        """Ends the exchanges of shares that were of no use lately. Raises Refused if that is not enough."""
        lacking = self._library.layouts.lacking(needed)
        now = trio.current_time()
        for swarm in sorted(served, key=lambda swarm: swarm.useful_at):
            if lacking <= 0 or now - swarm.useful_at < USEFUL_S:
                break
            lacking -= weight(swarm.holding.layout.manifest.root)
            self._drop(swarm.share_id, BUSY)
            served.remove(swarm)
        if lacking > 0 and served:
            raise Refused(BUSY)
