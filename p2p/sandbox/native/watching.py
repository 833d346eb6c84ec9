"""What the processes of a sandbox use, found by looking at /proc, and whether that is too much.

Only the standard library: see `keeper`.
"""

import os
from collections.abc import Mapping
from contextlib import suppress

_RESCAN_TICKS = 10
"""How often processes that are not of the sandbox are looked at again: a number may be used again."""


class Watch:
    """Looks at all processes of a sandbox. `use` is what they used when it last looked: memory, disk, processes."""

    def __init__(self, first: int, limits: Mapping[str, int]) -> None:
        """`first` is the first process inside."""
        self._limits = limits
        self._members = {first}
        self._others: set[int] = set()
        self._ticks = 0
        self.use = (0, 0, 0)

    def look(self) -> str:
        """Why the sandbox has to end; nothing if it uses no more than it may."""
        self._find()
        memory = sum(map(_memory, self._members))
        self.use = (memory, 0, len(self._members))
        if memory > self._limits["memory"]:
            return f"it used {memory >> 20} MiB of memory, and may use {self._limits['memory'] >> 20}"
        return ""

    def _find(self) -> None:
        """Finds the processes below the first, whose parents are never anywhere else."""
        self._ticks += 1
        if self._ticks % _RESCAN_TICKS == 0:
            self._others.clear()
        there = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        self._members &= there
        self._others &= there
        parents = {process: _parent(process) for process in there - self._members - self._others}
        while found := {process for process, parent in parents.items() if parent in self._members}:
            self._members |= found
            parents = {process: parent for process, parent in parents.items() if process not in found}
        self._others |= parents.keys()


def _parent(process: int) -> int:
    with suppress(OSError), open(f"/proc/{process}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])
    return 0


def _memory(process: int) -> int:
    """Bytes that are a process's own, in memory or swapped out."""
    kibibytes = 0
    with suppress(OSError), open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith(("RssAnon:", "VmSwap:")):
                kibibytes += int(line.split()[1])
    return kibibytes << 10
