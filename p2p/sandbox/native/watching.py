"""Whether a sandbox uses more than it may, or this machine has no more to lend. See `keeper`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from p2p.sandbox.native import disk, memory
from p2p.sandbox.native.disk import Disk
from p2p.sandbox.native.memory import Memory
from p2p.sandbox.native.processes import Processes


class Watch:
    """Looks at all that a sandbox uses. `use` is what was found last: bytes of memory, bytes of disk, processes."""

    def __init__(self, first: int, settings: Mapping[str, Any], folders: Sequence[str], *, sized: bool) -> None:
        """`first` is the first process inside; `sized`: the home cannot grow beyond its limit anyway."""
        limits = settings["limits"]
        self._folder: str = settings["folder"]
        self._home = f"/proc/{first}/root/home/me"
        self._processes = Processes(first, idle=settings["idle"])
        self._memory = Memory(first, folders, self._processes, limits)
        self._disk = None if sized else Disk(settings["home"], self._processes, limits)
        self.use = (0, 0, 0)

    def look(self) -> str:
        """Why the sandbox has to end; nothing if it may go on."""
        self._processes.look()
        reason = self._memory.look() or (self._disk.look() if self._disk else "")
        self.use = self._memory.used, self._disk.used if self._disk else self._on_own_disk(), len(self._processes)
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
