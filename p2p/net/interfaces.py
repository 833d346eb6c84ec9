"""Where others may reach this machine, as far as it can tell by itself."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

from p2p.wire.address import Address, ip


def reachable(bound: Iterable[Address]) -> Iterator[Address]:
    """Where others may reach these sockets: a wildcard address stands for the one this machine goes out with."""
    for address in bound:
        parsed = ip(address.host)
        if parsed is None or not parsed.is_unspecified:
            yield address
            continue
        family, outside = (socket.AF_INET, "192.0.2.1") if parsed.version == 4 else (socket.AF_INET6, "2001:db8::1")
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))  # sends nothing, only asks the routing table
            yield Address(probe.getsockname()[0], address.port)
            continue
        if parsed.version == 4:
            yield Address("127.0.0.1", address.port)
