"""Lists the addresses at which other machines may reach this one, as far as it can tell without asking them."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from p2p.net import multicast
from p2p.wire.address import Address, ip


def reachable(bound: Sequence[Address]) -> tuple[Address, ...]:
    """The addresses at which others may reach these sockets; at least one.

    A wildcard address stands for this machine's outgoing address; if there is none, for an address that the machine has
    on a local network; and if there is none either, for loopback.
    """
    found = tuple(_reachable(bound))
    return found or tuple(Address("::1", address.port) for address in bound)


def _reachable(bound: Iterable[Address]) -> Iterator[Address]:
    for address in bound:
        parsed = ip(address.host)
        if parsed is None or not parsed.is_unspecified:
            yield address
        else:
            host = _outgoing(parsed.version) or _on_a_network(address) or ("127.0.0.1" if parsed.version == 4 else "")
            if host:
                yield Address(host, address.port)


def _outgoing(version: int) -> str | None:
    family, outside = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((outside, 9))  # this sends nothing; it only consults the routing table
        host: str = probe.getsockname()[0]
        return host
    return None


def _on_a_network(wildcard: Address) -> str | None:
    """An address on a local network. It never has a zone, since an address with one means nothing to others."""
    with suppress(OSError):
        for segment in multicast.segments([wildcard]):
            if not segment.host.startswith("fe80"):
                return segment.host
    return None
