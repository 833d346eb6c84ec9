"""Fetched shares that may be dropped when space is needed: a folder for each, named by its id, whole or in part.

A folder's modification time says when its share was last used, so nothing else has to be stored for it.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from p2p.ids import ShareId, from_text, to_text
from p2p.store.target import explained

_BLOCK_BYTES = 512


class Cached(NamedTuple):
    """A cached share. `size` is the disk space that it takes, in bytes."""

    share: ShareId
    size: int
    used: float


class Cache:
    """The folders below `root`. Blocking; raises StorageError."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, share: ShareId) -> Path:
        """The folder to which the share is fetched."""
        return self._root / to_text(share)

    def touch(self, share: ShareId) -> None:
        """Records that the share is used now, if it is here."""
        with explained(self._root), suppress(FileNotFoundError):
            # The kernel's own time of "now" is some milliseconds old.
            os.utime(self.folder(share), ns=(time.time_ns(),) * 2)

    def all(self) -> list[Cached]:
        """All cached shares, the longest unused first. Anything else in the folder is left out."""
        found = []
        with explained(self._root), suppress(FileNotFoundError):
            for folder in self._root.iterdir():
                try:
                    share = ShareId(from_text(folder.name))
                except ValueError:
                    continue
                with suppress(FileNotFoundError):  # its user has just dropped it
                    used = folder.stat().st_mtime
                    found.append(Cached(share, sum(_sizes(folder)), used))
        return sorted(found, key=lambda cached: cached.used)

    def drop(self, share: ShareId) -> None:
        """Removes the share's files, as far as that is possible."""
        shutil.rmtree(self.folder(share), ignore_errors=True)


def _sizes(folder: Path) -> Iterator[int]:
    """The disk space of each file below the folder; `.part` files have holes, so their lengths say little."""
    for top, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                yield os.lstat(os.path.join(top, name)).st_blocks * _BLOCK_BYTES
