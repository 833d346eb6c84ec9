"""The processes of a sandbox, found from outside by their parents. Only the standard library: see `keeper`.

Whatever a process does, its parent is in its own process namespace; so those of a sandbox are those below its first.
What a process says of itself is not needed for that. Each is held by a descriptor of its folder in /proc, which a
process that gets the same number later does not have.
"""

import os
from collections.abc import Iterator
from contextlib import suppress

_RESCAN_LOOKS = 10
"""How often numbers of processes outside the sandbox are looked at again, as they may be used again."""
_LOWEST = b"19"


class Processes:
    """The processes of one sandbox: the descriptors of their folders in /proc, by their numbers."""

    def __init__(self, first: int, *, idle: bool) -> None:
        self._folders = {first: _open(first)}
        self._others: set[int] = set()
        self._looks = 0
        self._idle = idle

    def __len__(self) -> int:
        return len(self._folders)

    def look(self) -> None:
        """Finds those that have come, and forgets those that have gone."""
        self._looks += 1
        if self._looks % _RESCAN_LOOKS == 0:
            self._others.clear()
        there = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        for process in self._folders.keys() - there:
            self.forget(process)
        self._others &= there
        found = {process: _stat(process) for process in there - self._folders.keys() - self._others}
        while found:
            mine = [process for process, (parent, _) in found.items() if parent in self._folders]
            if not mine:
                break
            for process in mine:
                self._take(process, found.pop(process))
        self._others |= found.keys()

    def _take(self, process: int, stat: tuple[int, int]) -> None:
        with suppress(OSError):
            folder = _open(process)
            if _stat(process) != stat:
                os.close(folder)  # another by the same number
                return
            self._folders[process] = folder
            if self._idle and stat[1] == process:
                lower_session(folder)

    def read(self, name: str) -> Iterator[tuple[int, bytes]]:
        """The text of a file in /proc of each process that still runs, by its number."""
        for process, folder in list(self._folders.items()):
            try:
                yield process, read_at(folder, name)
            except (ProcessLookupError, FileNotFoundError):
                self.forget(process)
            except OSError:
                continue

    def open_files(self) -> Iterator[os.stat_result]:
        """What each process has open, as far as it can be seen."""
        for folder in list(self._folders.values()):
            with suppress(OSError):
                handles = os.open("fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
                try:
                    for name in os.listdir(handles):
                        with suppress(OSError):
                            yield os.stat(name, dir_fd=handles)
                finally:
                    os.close(handles)

    def forget(self, process: int) -> None:
        os.close(self._folders.pop(process))


def lower_session(folder: int) -> None:
    """Gives a session the lowest priority among sessions, where the kernel shares out processors by session.

    See `isolation.SessionPriority`. The kernel takes ten of these in a second from all users who are not root.
    """
    with suppress(OSError):
        handle = os.open("autogroup", os.O_WRONLY, dir_fd=folder)
        try:
            os.write(handle, _LOWEST)
        finally:
            os.close(handle)


def read_at(folder: int, name: str) -> bytes:
    """A small file of a folder. Raises OSError."""
    handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(handle, 1 << 16)
    finally:
        os.close(handle)


def _open(process: int) -> int:
    return os.open(f"/proc/{process}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _stat(process: int) -> tuple[int, int]:
    """The parent and the session of a process; zeros if it is gone."""
    with suppress(OSError), open(f"/proc/{process}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        return int(fields[1]), int(fields[3])
    return 0, 0
