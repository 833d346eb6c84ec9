"""Whether a sandbox uses more than it may, or this machine has no more to lend. See `keeper`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from p2p.sandbox.native import disk, memory
from p2p.sandbox.native.disk import Disk
from p2p.sandbox.native.groups import Group
from p2p.sandbox.native.memory import Memory
from p2p.sandbox.native.processes import Processes


class Watch:
    """Looks at all that a sandbox uses. `use` is what was found last: bytes of memory, bytes of disk, processes."""

    def __init__(
        self, first: int, settings: Mapping[str, Any], folders: Sequence[str], group: Group | None, *, sized: bool
    ) -> None:
        """`first` is the first process inside, `folders` are the file systems in memory that it can write to.

        A group has limits of its own, and a home that is `sized` cannot grow beyond its limit either.
        """
        limits = settings["limits"]
        self._folder: str = settings["folder"]
        self._home = f"/proc/{first}/root/home/me"
        self._processes = Processes(first, idle=settings["idle"])
        self._group = group
        self._memory = Memory(first, [] if group else folders, self._processes, limits)
        self._disk = None if sized else Disk(settings["home"], self._processes, limits)
        self.use = (0, 0, 0)

    def look(self) -> str:
        """Why the sandbox has to end; nothing if it may go on."""
        self._processes.look()
        reason = "" if self._group else self._memory.look()
        if self._disk and not reason:
            reason = self._disk.look()
        memory_used, processes = self._group.use() if self._group else (self._memory.used, len(self._processes))
        self.use = memory_used, self._disk.used if self._disk else self._on_own_disk(), processes
        if not reason and memory.is_short():
            reason = "this machine has no memory left to lend"
        if not reason and disk.is_full(self._folder):
            reason = "this machine's disk is full"
        return reason

    def _on_own_disk(self) -> int:
        try:
            there = os.statvfs(self._home)
        except OSError:
            return 0
        return (there.f_blocks - there.f_bfree) * there.f_frsize
