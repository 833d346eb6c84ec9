"""The cache: shares fetched whole or in part, to be dropped if space is needed, each in a folder named by its id.

A folder's modification time says when its share was last used, so nothing else has to be stored about the share.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from p2p.ids import ShareId, from_text, to_text
from p2p.store.explaining import explained

_BLOCK_BYTES = 512


class Cached(NamedTuple):
    """A cached share. `size` is the disk space that it takes, in bytes."""

    share: ShareId
    size: int
    used: float


class Cache:
    """The cached shares in the folders below `root`. Blocking; raises StorageError."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, share: ShareId) -> Path:
        """The folder to which the share is fetched."""
        return self._root / to_text(share)

    def touch(self, share: ShareId) -> None:
        """Records that the share is used now, if it is cached."""
        with explained(self._root), suppress(FileNotFoundError):
            # If the kernel set the time, it would be some milliseconds old.
            os.utime(self.folder(share), ns=(time.time_ns(),) * 2)

    def all(self) -> list[Cached]:
        """All cached shares, the least recently used first. Other files and folders are skipped."""
        found = []
        with explained(self._root), suppress(FileNotFoundError):
            for folder in self._root.iterdir():
                try:
                    share = ShareId(from_text(folder.name))
                except ValueError:
                    continue
                with suppress(FileNotFoundError):  # the share has just been dropped
                    used = folder.stat().st_mtime
                    found.append(Cached(share, sum(_sizes(folder)), used))
        return sorted(found, key=lambda cached: cached.used)

    def drop(self, share: ShareId) -> None:
        """Removes the share's files, as far as possible."""
        shutil.rmtree(self.folder(share), ignore_errors=True)


def _sizes(folder: Path) -> Iterator[int]:
    """The disk space that each file below the folder takes; a `.part` file has holes, so this is not its length."""
    for top, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                yield os.lstat(os.path.join(top, name)).st_blocks * _BLOCK_BYTES
