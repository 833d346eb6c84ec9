"""A share that is whole in the library, read in the same way as a share that must be fetched."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from p2p.core.shares import folders
from p2p.core.shares.layout import Layout
from p2p.errors import StorageError
from p2p.sharing.reading.at_hand import AtHand
from p2p.store.disk import Disk
from p2p.store.library import SharedFiles
from p2p.store.stamps import Stamp
from p2p.wire.link import PeerHint


class LocalCopy:
    """A share in the library. For readers, it has the same methods as a `PartialFetch` that lacks nothing."""

    def __init__(self, files: SharedFiles, disk: Disk, at_hand: AtHand) -> None:
        self._files = files
        self._share = files.layout.manifest.share_id
        self._at_hand = at_hand
        self._disk = disk
        self.usable = True
        self.whole = True
        self.handed_over = False
        self.taken = self.fetched = 0
        self.starved_s = 0.0
        self.trouble = ""

    def add(self, hint: PeerHint) -> None:
        """Does nothing: no source is needed."""

    def ask(self, tracker: str) -> None:
        """Does nothing: no source is needed."""

    async def layout(self) -> Layout:
        return self._files.layout

    def read_now(self, path: str, offset: int, size: int, room: bytearray | None) -> bytearray | None:
        """Reads bytes of a file that are in memory. Returns None if they are not, or if there are none."""
        entries = self._files.layout.manifest.entries
        entry = folders.number_of(entries, tuple(path.split("/")))
        if entry is None or offset + size > entries[entry].size:
            return None
        return self._at_hand.read((self._share, entry), self._files.stamp(entry), offset, size, room)

    def original(self, entry: int) -> int:
        return entry

    def more(self, chunks: int) -> int:
        """Zero: nothing more is needed."""
        return 0

    def want(self, chunks: int) -> None:
        """Does nothing: the chunks are here."""

    async def have(self, chunks: int) -> None:
        await trio.lowlevel.checkpoint()

    @contextmanager
    def reading(self, entry: int) -> Iterator[tuple[int, Stamp | None]]:
        with self._files.reading(entry) as (descriptor, stamp):
            yield descriptor, stamp
            self._at_hand.offer((self._share, entry), descriptor)

    async def changed(self, entry: int, error: StorageError) -> bool:
        """Looks at a file that seems to have changed. If it has, neither the library nor readers use it any more."""
        await self.close()
        seen, check = self._files.stamp(entry), trio.from_thread.check_cancelled
        self.usable = not await self._disk.run_long(self._files.changed, entry, seen, check)
        return not self.usable

    def stop(self) -> None:
        """Does nothing: there is no fetch to end."""

    async def close(self) -> None:
        """Closes its files."""
        self._at_hand.forget(self._share)
        await self._disk.run(self._at_hand.sweep)
