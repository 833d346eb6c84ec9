"""Whose a connection on this machine is. On Linux the kernel tells, in /proc/net/tcp and tcp6; elsewhere nobody does.

Only a connection that some process still has open counts: those that are closing are listed as root's.
"""

import ipaddress
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from p2p.wire.address import canonical

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_MAPPED = bytes(10) + b"\xff\xff"
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9

End = tuple[str, int]
"""A host and a port."""


def is_of_another(client: End, server: End) -> bool:
    """Whether a user other than this one, or root, made a connection within this machine. Blocks."""
    host = ipaddress.ip_address(canonical(client[0]))
    if not (host.is_loopback or canonical(client[0]) == canonical(server[0])):
        return False
    if not any(table.exists() for table in TABLES):
        return False
    return owner_of(client, server) not in (0, os.geteuid())


def owner_of(client: End, server: End) -> int | None:
    """The user who has the client's end of a connection within this machine; None if nobody can tell. Blocks."""
    for table in TABLES:
        if table.exists():
            owner = owner_in(table.read_text("ascii").splitlines(), client, server)
            if owner is not None:
                return owner
    return None


def owner_in(lines: Iterable[str], client: End, server: End) -> int | None:
    """The user whose process has the client's end of a connection open, as a table has it; None if it has none."""
    wanted = {(_written(client, mapped=mapped), _written(server, mapped=mapped)) for mapped in (False, True)}
    for line in lines:
        fields = line.split()
        if len(fields) > _INODE and (fields[_LOCAL], fields[_REMOTE]) in wanted and fields[_INODE] != "0":
            return int(fields[_UID])
    return None


def _written(end: End, *, mapped: bool) -> str:
    """An end of a connection as the kernel writes it: words of 32 bits in the order of this machine."""
    packed = ipaddress.ip_address(canonical(end[0])).packed
    if mapped and len(packed) == 4:
        packed = _MAPPED + packed
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return f"{b''.join(word[::-1] if sys.byteorder == 'little' else word for word in words).hex().upper()}:{end[1]:04X}"
