"""Limits by the kernel's control groups of version 2, where this peer may make some. See `keeper`.

It may where its own group is delegated to it: as a user's service of systemd, or in a container with groups of its own.
A group with limits for others must have no process itself, so the peer then moves into one below: `shoal-peer`.
"""

import os
from collections.abc import Mapping
from contextlib import suppress

_NEEDED = {"memory", "cpu", "pids"}
_OWN = "shoal-peer"
_SANDBOX = "shoal-sandbox-"
_PERIOD_US = 100_000
_WRAPPERS = 2
"""bubblewrap's own processes, beside those of the sandbox."""


class Group:
    """A control group, a folder of the kernel's."""

    def __init__(self, path: str) -> None:
        self._path = path

    def limit(self, limits: Mapping[str, int], *, idle: bool) -> None:
        """Sets the limits. Raises OSError."""
        self._write("memory.max", limits["memory"])
        self._write("memory.oom.group", 1)  # all of it ends, not the process that the kernel happens to choose
        self._write("cpu.max", f"{limits['cores'] * _PERIOD_US} {_PERIOD_US}")
        self._write("pids.max", limits["processes"] + _WRAPPERS)
        with suppress(OSError):  # no swap here
            self._write("memory.swap.max", 0)
        if idle:
            self._write("cpu.weight", 1)
            with suppress(OSError):  # since Linux 5.15
                self._write("cpu.idle", 1)

    def enter(self) -> None:
        """Moves this process into the group, with all that it starts. Raises OSError."""
        self._write("cgroup.procs", 0)

    def use(self) -> tuple[int, int]:
        """The bytes of memory that it uses, and the processes."""
        return self._number("memory.current"), self._number("pids.current")

    def ran_out(self) -> bool:
        """Whether the kernel has ended processes of it because they used too much memory."""
        events = dict(line.split() for line in self._read("memory.events"))
        return int(events.get("oom_kill", 0)) > 0

    def close(self) -> None:
        """Ends all processes that are still in it, and removes it once they are gone."""
        with suppress(OSError):
            self._write("cgroup.kill", 1)
        with suppress(OSError):
            os.rmdir(self._path)

    def _write(self, name: str, value: object) -> None:
        with open(os.path.join(self._path, name), "w") as file:
            file.write(str(value))

    def _read(self, name: str) -> list[str]:
        with suppress(OSError), open(os.path.join(self._path, name)) as file:
            return file.read().splitlines()
        return []

    def _number(self, name: str) -> int:
        return int((self._read(name) or ["0"])[0])


def make(base: str, name: str, limits: Mapping[str, int], *, idle: bool) -> Group | None:
    """Makes a group for a sandbox below `base`. None if that fails."""
    for left in os.listdir(base):
        if left.startswith(_SANDBOX):
            with suppress(OSError):  # only one without processes can be removed
                os.rmdir(os.path.join(base, left))
    path = os.path.join(base, _SANDBOX + name)
    try:
        os.mkdir(path)
    except OSError:
        return None
    group = Group(path)
    try:
        group.limit(limits, idle=idle)
    except OSError:
        group.close()
        return None
    return group


def own() -> str | None:
    """The folder of this process's group of version 2; None if there is none."""
    try:
        with open("/proc/self/cgroup") as file:
            below = next((line.strip()[3:] for line in file if line.startswith("0::")), None)
        with open("/proc/self/mountinfo") as file:
            mounts = [line.split() for line in file if " - cgroup2 " in line]
    except OSError:
        return None
    if below is None or not mounts:
        return None
    top, at = mounts[0][3], mounts[0][4]
    inside = os.path.relpath(below, top)
    return None if inside.startswith("..") else os.path.normpath(os.path.join(at, inside))


def delegated(group: str, peer: int) -> str | None:
    """The folder below which groups with limits can be made, given this process's own group.

    Moves the peer's processes, which are `peer` and those below it, out of the way if nothing else is in the group.
    """
    base = os.path.dirname(group) if os.path.basename(group) == _OWN else group
    try:
        if not _words(base, "cgroup.controllers") >= _NEEDED or not os.access(base, os.W_OK):
            return None
        if not _words(base, "cgroup.subtree_control") >= _NEEDED and not _hand_on(base):
            with open(os.path.join(base, "cgroup.procs")) as file:
                processes = [int(line) for line in file]
            if not all(_is_below(process, peer) for process in processes):
                return None
            os.makedirs(os.path.join(base, _OWN), exist_ok=True)
            for process in processes:
                with suppress(ProcessLookupError), open(os.path.join(base, _OWN, "cgroup.procs"), "w") as file:
                    file.write(str(process))
            if not _hand_on(base):
                return None
    except OSError:
        return None
    return base


def _hand_on(base: str) -> bool:
    """Lets groups below have limits. Not possible while processes are in this one."""
    try:
        with open(os.path.join(base, "cgroup.subtree_control"), "w") as file:
            file.write(" ".join(f"+{name}" for name in sorted(_NEEDED)))
    except OSError:
        return False
    return True


def _words(base: str, name: str) -> set[str]:
    with open(os.path.join(base, name)) as file:
        return set(file.read().split())


def _is_below(process: int, ancestor: int) -> bool:
    while process > 1 and process != ancestor:
        try:
            with open(f"/proc/{process}/stat") as file:
                process = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            return True  # gone
    return process == ancestor
