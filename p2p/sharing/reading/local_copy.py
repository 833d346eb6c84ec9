"""A share that is whole in the library, for those who read it as if it were still to be fetched."""

from contextlib import AbstractContextManager

import trio

from p2p.core.shares.layout import Layout
from p2p.errors import StorageError
from p2p.store.disk import Disk
from p2p.store.library import SharedFiles, Stamp
from p2p.wire.link import PeerHint


class LocalCopy:
    """A share of the library, as readers see it: `PartialFetch` of which nothing is missing."""

    def __init__(self, files: SharedFiles, disk: Disk) -> None:
        self._files = files
        self._disk = disk
        self.usable = True
        self.whole = True
        self.taken = self.fetched = 0

    def add(self, hint: PeerHint) -> None:
        """Nobody needs to be asked."""

    async def layout(self) -> Layout:
        return self._files.layout

    def original(self, entry: int) -> int:
        return entry

    def more(self, chunks: int) -> int:
        """Nothing more is needed."""
        return 0

    def want(self, chunks: int) -> None:
        """They are here."""

    async def have(self, chunks: int) -> None:
        await trio.lowlevel.checkpoint()

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        return self._files.reading(entry)

    async def changed(self, entry: int, error: StorageError) -> None:
        """The file is not what was shared: neither the library nor readers trust it any more."""
        self.usable = False
        await self._disk.run(self._files.changed, entry)

    def stop(self) -> None:
        """There is nothing to end."""

    async def close(self) -> None:
        """Nor to wait for."""
