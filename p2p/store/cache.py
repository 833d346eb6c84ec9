"""Fetched shares that may be dropped when room is needed: a folder each, named by the share, whole or in part.

When one was last used is the time of its folder, so nothing else has to be kept for it.
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
    """One of them. `size` is what it takes of the disk, in bytes."""

    share: ShareId
    size: int
    used: float


class Cache:
    """The folders beneath `root`. Blocking; raises StorageError."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, share: ShareId) -> Path:
        """Where the share is fetched to."""
        return self._root / to_text(share)

    def touch(self, share: ShareId) -> None:
        """The share is used now, if it is here."""
        with explained(self._root), suppress(FileNotFoundError):
            # The kernel's own idea of now is some milliseconds old.
            os.utime(self.folder(share), ns=(time.time_ns(),) * 2)

    def all(self) -> list[Cached]:
        """What is here, the longest unused first. Anything else that lies there is left out."""
        found = []
        with explained(self._root), suppress(FileNotFoundError):
            for folder in self._root.iterdir():
                try:
                    share = ShareId(from_text(folder.name))
                except ValueError:
                    continue
                with suppress(FileNotFoundError):  # dropped by its user meanwhile
                    used = folder.stat().st_mtime
                    found.append(Cached(share, sum(_sizes(folder)), used))
        return sorted(found, key=lambda cached: cached.used)

    def drop(self, share: ShareId) -> None:
        """Removes the share's files, as far as that is possible."""
        shutil.rmtree(self.folder(share), ignore_errors=True)


def _sizes(folder: Path) -> Iterator[int]:
    """What the files beneath take; parts have holes, so their lengths say little."""
    for top, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                yield os.lstat(os.path.join(top, name)).st_blocks * _BLOCK_BYTES
