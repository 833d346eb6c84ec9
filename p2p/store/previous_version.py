"""An earlier version of a share, in the folder into which it was fetched: a source of chunks that needs no network.

This peer may replace the files of that version, but only those that nobody has changed since.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.core.shares.local_names import Renames
from p2p.ids import ChunkHash
from p2p.store import content, posix
from p2p.store.local_paths import LocalPaths
from p2p.store.stamps import NOT_HELD, Stamp


class Earlier:
    """The files of an earlier version of a share, in `folder`. Blocking.

    `stamps` are the files' sizes and times when that version was complete: a file that no longer has them has changed,
    unless it may still be the same by its stamp, and is by its content. `names` are those that differ on the disk from
    those in the share.
    """

    def __init__(self, layout: Layout, folder: Path, stamps: Sequence[Stamp], names: Renames | None = None) -> None:
        self._layout = layout
        paths = LocalPaths(layout, folder, names or {})
        self.top = paths.top
        self._paths = [paths.path(entry) for entry in range(len(layout.manifest.entries))]
        self._stamps = dict(zip(self._paths, stamps, strict=True))
        self._entries = {path: entry for entry, path in enumerate(self._paths)}
        self._chunks: dict[ChunkHash, ChunkPlace] = {}
        for entry in layout.files:
            if stamps[entry] != NOT_HELD:
                first, count = layout.range_of(entry)
                for chunk in range(first, first + count):
                    self._chunks.setdefault(layout.hash(chunk), layout.place(chunk))

    def place(self, hash_: ChunkHash) -> ChunkPlace | None:
        """The place of a chunk with this hash in the earlier version, or None."""
        return self._chunks.get(hash_)

    def reading(self, entry: int) -> AbstractContextManager[int]:
        """Opens the entry's file for the body; gives its descriptor. Raises OSError."""
        return posix.opened(self._paths[entry], os.O_RDONLY)

    def left(self, path: Path, status: os.stat_result) -> bool:
        """Whether the file at the path belongs to this version and has not changed since."""
        stamp, found = self._stamps.get(path), Stamp.of(status)
        if stamp is None or stamp == NOT_HELD or not found.may_be(stamp):
            return False
        if found == stamp:
            return True
        try:
            with posix.opened(path, os.O_RDONLY) as descriptor:
                same = content.is_same(descriptor, self._layout, self._entries[path])
                return same and found == Stamp.of(os.fstat(descriptor))
        except OSError:
            return False
