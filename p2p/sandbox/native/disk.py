"""What the home of a sandbox takes on a disk that it shares with others, found by looking. See `keeper`.

The folder is walked a little at each look, so that looking at memory does not wait for it. A walk begins when so much
of the disk was used up by anyone that the limit may be near, and otherwise now and then. Files that have no name any
more count while a process has them open.
"""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from p2p.sandbox.native.processes import Processes

MAX_FILES = 1_000_000
MAX_DEPTH = 100
_SLICE_S = 0.02
_PAUSE_S = 5.0
_SHARE = 50
"""A walk may take one part in so many of the time."""
_BLOCK = 512
_RESERVE_BYTES = 1 << 30
_RESERVE_SHARE = 20


class Disk:
    """The bytes that a home uses. `used` is what was found last."""

    def __init__(self, home: str, processes: Processes, limits: Mapping[str, int]) -> None:
        self._home = home
        self._processes = processes
        self._limit = limits["disk"]
        self._walk: Iterator[tuple[int, int]] | None = None
        self._free = _free(home)
        self._began = self._next = 0.0
        self.used = 0

    def look(self) -> str:
        """Why the sandbox has to end, if it has to."""
        now = time.monotonic()
        if self._walk is None:
            fell = self._free - _free(self._home)
            if now < self._next and fell < (self._limit - self.used) // 2:
                return ""
            self._walk, self._began, self._free = _entries(self._home), now, _free(self._home)
            self._found = self._files = 0
        for size, depth in self._walk:
            self._found += size
            self._files += 1
            if self._found > self._limit:
                self.used = self._found
                return f"it used {self._found >> 20} MiB of disk, and may use {self._limit >> 20}"
            if self._files > MAX_FILES or depth > MAX_DEPTH:
                return f"its files are too many: over {MAX_FILES}, or {MAX_DEPTH} folders deep"
            if time.monotonic() - now > _SLICE_S:
                return ""
        self._walk = None
        self._next = time.monotonic() + max(_PAUSE_S, _SHARE * (time.monotonic() - self._began))
        self.used = self._found + self._nameless()
        if self.used > self._limit:
            return (
                f"it used {self.used >> 20} MiB of disk, also by files without a name, and may use {self._limit >> 20}"
            )
        return ""

    def _nameless(self) -> int:
        """Bytes of files that were removed, and are open still."""
        device = os.stat(self._home).st_dev
        open_files = (file for file in self._processes.open_files() if not file.st_nlink and file.st_dev == device)
        return sum({file.st_ino: file.st_blocks * _BLOCK for file in open_files}.values())


def is_full(folder: str) -> bool:
    """Whether a disk is so full that this peer lends nothing of it any more."""
    there = os.statvfs(folder)
    return there.f_bavail * there.f_frsize < min(_RESERVE_BYTES, there.f_blocks * there.f_frsize // _RESERVE_SHARE)


def _free(folder: str) -> int:
    there = os.statvfs(folder)
    return there.f_bfree * there.f_frsize


def _entries(top: str) -> Iterator[tuple[int, int]]:
    """The size on disk of all files and folders below one, a file with several names in parts, and how deep they are.

    Follows no link. A folder that its owner has closed is opened: it may not hide what it has.
    """
    stack = [_opened(top, None)]
    iterators = [os.scandir(stack[-1])]
    try:
        while stack:
            entry = next(iterators[-1], None)
            if entry is None:
                iterators.pop().close()
                os.close(stack.pop())
                continue
            with suppress(OSError):  # removed meanwhile
                status = entry.stat(follow_symlinks=False)
                is_folder = stat.S_ISDIR(status.st_mode)
                yield status.st_blocks * _BLOCK // (1 if is_folder else max(1, status.st_nlink)), len(stack)
                if is_folder and len(stack) <= MAX_DEPTH:
                    stack.append(_opened(entry.name, stack[-1]))
                    iterators.append(os.scandir(stack[-1]))
    finally:
        for iterator in iterators:
            iterator.close()
        for handle in stack:
            os.close(handle)


def _opened(name: str, above: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=above)
    except PermissionError:
        handle = os.open(name, os.O_PATH | flags, dir_fd=above)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        finally:
            os.close(handle)
        return os.open(name, flags, dir_fd=above)
