"""Descriptors of the folders below an output folder: few are open at a time, and none is reached through a link."""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2p.core.shares import names
from p2p.store import posix

MAX_OPEN = 64


class Folders:
    """The folders below `root`, each created when it is first taken; the least recently used are closed.

    A taken folder stays open until it is given back, which any thread may do. All methods raise OSError, and
    StorageError if a link or a file is in the way.
    """

    def __init__(self, root: Path) -> None:
        self.root = posix.open_folder(root)
        self._lock = threading.Lock()
        self._closed = False
        self._open: OrderedDict[names.Path, int] = OrderedDict()
        self._taken: dict[names.Path, int] = {}

    def take(self, path: names.Path) -> int:
        """Returns the descriptor of a folder, which the caller must `give` back."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the output folder is no longer in use")
            descriptor = self._open.get(path)
            if descriptor is None:
                descriptor = self._open[path] = posix.open_beneath(self.root, path)
            else:
                self._open.move_to_end(path)
            self._taken[path] = self._taken.get(path, 0) + 1
            if len(self._open) > MAX_OPEN:
                self._close_some()
            return descriptor

    def give(self, path: names.Path) -> None:
        """Gives a taken folder back."""
        with self._lock:
            left = self._taken[path] - 1
            if left:
                self._taken[path] = left
            else:
                del self._taken[path]
                if self._closed:
                    os.close(self._open.pop(path))
                elif len(self._open) > MAX_OPEN:
                    self._close_some()

    @contextmanager
    def taken(self, path: names.Path) -> Iterator[int]:
        """Takes a folder, and gives it back when the body has ended."""
        descriptor = self.take(path)
        try:
            yield descriptor
        finally:
            self.give(path)

    def close(self) -> None:
        """Closes all folders except those that are taken, which are closed when they are given back. Idempotent.

        A later `take` raises OSError; it never gives a descriptor that belongs to something else by now.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for path in [path for path in self._open if path not in self._taken]:
                os.close(self._open.pop(path))
            os.close(self.root)

    def _close_some(self) -> None:
        idle = [path for path in self._open if path not in self._taken][: len(self._open) - MAX_OPEN]
        for path in idle:
            os.close(self._open.pop(path))
