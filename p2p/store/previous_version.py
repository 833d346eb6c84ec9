"""An earlier version of a share, as it was fetched into a folder: a source of chunks without a network.

This peer may replace its files as long as they are as it left them: a file that somebody has changed is theirs.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.ids import ChunkHash
from p2p.store import posix
from p2p.store.library import NOT_HELD, Stamp


class Earlier:
    """The version with this layout below `folder`; `stamps` are its entries' stamps when it was whole. Blocking."""

    def __init__(self, layout: Layout, folder: Path, stamps: Sequence[Stamp]) -> None:
        root = layout.manifest.root
        top = folder if root.single else folder / root.name
        self._paths = [top.joinpath(*entry.path) for entry in layout.manifest.entries]
        self._stamps = dict(zip(self._paths, stamps, strict=True))
        self._chunks: dict[ChunkHash, ChunkPlace] = {}
        for entry in layout.files:
            if stamps[entry] != NOT_HELD:
                first, count = layout.range_of(entry)
                for chunk in range(first, first + count):
                    self._chunks.setdefault(layout.hash(chunk), layout.place(chunk))

    def place(self, hash_: ChunkHash) -> ChunkPlace | None:
        """Where a chunk with this hash was."""
        return self._chunks.get(hash_)

    def reading(self, entry: int) -> AbstractContextManager[int]:
        """A descriptor of the entry's file for the body. Raises OSError."""
        return posix.opened(self._paths[entry], os.O_RDONLY)

    def left(self, path: Path, status: os.stat_result) -> bool:
        """Whether the file at the path is one of this version, and unchanged since."""
        stamp = self._stamps.get(path)
        return stamp is not None and stamp != NOT_HELD and stamp == Stamp.of(status)
