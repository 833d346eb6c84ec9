"""Serves stale shares again whose files are back as they were: their disk was unplugged, or a folder not mounted."""

import trio

from p2p.concurrency.bell import Bell
from p2p.errors import BadData, NotFound
from p2p.ids import ShareId
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.library import Library, SharedFiles
from p2p.store.stamps import Stamp

LOOK_INTERVAL_S = 60.0


class Returning:
    """Looks at the stale shares of one peer from time to time."""

    def __init__(self, library: Library, swarms: Swarms, disk: Disk, changes: Bell) -> None:
        self._library = library
        self._swarms = swarms
        self._disk = disk
        self._changes = changes
        self._different: dict[ShareId, set[tuple[int, Stamp]]] = {}
        """The files that were hashed in vain, which is not done again."""

    async def run(self) -> None:
        """Runs until it is cancelled. Raises StorageError."""
        while True:
            await self.look()
            await trio.sleep(LOOK_INTERVAL_S)

    async def look(self) -> None:
        """Looks at each stale share once."""
        rows = await self._disk.run(self._library.shares)
        stale = {ShareId(row.id) for row in rows if row.stale is not None}
        self._different = {share: found for share, found in self._different.items() if share in stale}
        for row in rows:
            share = ShareId(row.id)
            if row.stale is None:
                continue
            if await self._disk.run(self._is_back, share):
                await self._swarms.refresh(share)
                self._changes.ring()

    def _is_back(self, share: ShareId) -> bool:
        """Whether all files are as they were when they were hashed; then the share is no longer stale. Blocks."""
        try:
            files = SharedFiles(self._library, share)
        except (NotFound, BadData):
            return False
        different = self._different.setdefault(share, set())
        if not files.are_unchanged(trio.from_thread.check_cancelled, different):
            return False
        self._library.mark_current(share)
        return True
