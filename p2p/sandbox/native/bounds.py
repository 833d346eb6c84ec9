"""What bounds a sandbox on this machine, and by how much each limit can be exceeded, for people to read.

The figures are those of `scripts/bench/overshoot.py`, on two cores, by programs that do nothing else. What the kernel
keeps for a program, in buffers of sockets and pipes, counts only where there is a control group: see `memory`.
"""

from typing import NamedTuple

_LOOKED_AT = "looked at five times a second"


class Bound(NamedTuple):
    """A limit of a sandbox."""

    what: str
    by: str
    """What enforces it."""
    beyond_bytes: int
    """How far it was seen to be exceeded before the sandbox ended; 0 if it cannot be exceeded."""


def bounds(*, grouped: bool, sized: bool) -> tuple[Bound, ...]:
    """The limits of a sandbox that has a control group or not, and a disk of a fixed size or not."""
    group = "a control group"
    return (
        Bound("memory", group, 0) if grouped else Bound("memory", _LOOKED_AT, 200 << 20),
        Bound("files in memory", "file systems of a fixed size", 0),
        Bound("cores", group if grouped else "the processors that it may run on", 0),
        Bound("processes", group if grouped else "a limit of its user", 0),
        Bound("disk", "a file system of a fixed size", 0) if sized else Bound("disk", _LOOKED_AT, 150 << 20),
    )
