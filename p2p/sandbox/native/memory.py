"""How much memory the processes of a sandbox use, found by looking. Only the standard library: see `keeper`.

What is quickly read is too high: pages that a fork shares count twice, and so does what several processes map of a file
in memory. Only if that is over the limit, the processes' shares are added up, which takes the kernel longer.

What the kernel keeps for a process besides its pages and their tables, such as what waits in sockets, only control
groups count. Where there are none, a sandbox that takes such memory ends once this machine has hardly any left.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from p2p.sandbox.native.processes import Processes

_RESERVE_BYTES = 64 << 20
_RESERVE_SHARE = 64
_KIBIBYTE = 1024
_FILE_BYTES = 2048
"""What the kernel keeps of a file in memory besides what is in it, at most."""


class Memory:
    """The bytes of memory that a sandbox uses. `used` is what was found last."""

    def __init__(self, first: int, folders: Sequence[str], processes: Processes, limits: Mapping[str, int]) -> None:
        """`folders` are the paths inside of all file systems in memory that can be written to."""
        root = f"/proc/{first}/root"
        self._folders = [os.open(root + path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in folders]
        self._processes = processes
        self._limit = limits["memory"]
        self.used = 0

    def look(self) -> str:
        """Why the sandbox has to end, if it has to."""
        files = sum(map(_used, self._folders))
        own = shared = tables = 0
        for _, text in self._processes.read("status"):
            own += _number(text, b"\nRssAnon:") + _number(text, b"\nVmSwap:")
            tables += _number(text, b"\nVmPTE:")
            shared += _number(text, b"\nRssShmem:")
        self.used = files + own + tables
        if self.used + shared > self._limit:
            self.used = self._exactly(files) + tables
        if self.used > self._limit:
            return f"it used {self.used >> 20} MiB of memory, and may use {self._limit >> 20}"
        return ""

    def _exactly(self, files: int) -> int:
        own = shared = 0
        for _, text in self._processes.read("smaps_rollup"):
            own += _number(text, b"\nPss_Anon:") + _number(text, b"\nSwapPss:")
            shared += _number(text, b"\nPss_Shmem:")
        return own + max(files, shared)


def is_short() -> bool:
    """Whether this machine has so little memory left that this peer lends nothing of it any more."""
    with suppress(OSError), open("/proc/meminfo", "rb") as file:
        text = b"\n" + file.read()
        return _number(text, b"\nMemAvailable:") < max(_RESERVE_BYTES, _number(text, b"\nMemTotal:") // _RESERVE_SHARE)
    return False


def _used(folder: int) -> int:
    there = os.fstatvfs(folder)
    return (there.f_blocks - there.f_bfree) * there.f_frsize + (there.f_files - there.f_ffree) * _FILE_BYTES


def _number(text: bytes, label: bytes) -> int:
    """The number of kibibytes that follows a label, in bytes; 0 if it is not there."""
    at = text.find(label)
    return int(text[at + len(label) :].split(None, 1)[0]) * _KIBIBYTE if at >= 0 else 0
