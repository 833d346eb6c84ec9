"""Multicast sockets: one for each address at which this machine is on a local network.

A socket is bound to the group, so that it gets nothing that was sent to this machine alone; it receives on one
interface only, and sends from its own address. It sends with a TTL of 1; what arrives with another TTL was routed, and
is dropped. Only Linux is supported; on other systems there are no segments.
"""

import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from p2p.wire.address import Address, Scope, canonical, ip, prefix, scope

BUFFER_BYTES = 64 * 1024
MAX_SEGMENTS = 32

_WANTED, _UNWANTED = {"running", "multicast"}, {"loopback", "pointopoint"}
"""Flags of interfaces on which there may be other machines."""
_IP_MULTICAST_ALL, _IP_RECVTTL = 49, 12  # the socket module has no name for it


class Group(NamedTuple):
    """The multicast groups to which beacons are sent: one for IPv4, one for IPv6, both with the same UDP port."""

    v4: str
    v6: str
    port: int


class Segment(NamedTuple):
    """A segment of a local network, where this peer announces that it listens at `host`, TCP `port`.

    `interface` is the index of a network interface; with 0, the system finds the interface whose address is `host`.
    """

    interface: int
    host: str
    port: int

    @property
    def is_v6(self) -> bool:
        return ":" in self.host


def segments(listening: Iterable[Address]) -> list[Segment]:
    """The segments on which these listening sockets can be reached, at most `MAX_SEGMENTS`.

    A wildcard address stands for all interfaces except loopback and point-to-point ones, since a tunnel is not a local
    network; any other address stands for the interface that has it. Raises OSError if the system does not say.
    """
    if sys.platform != "linux":
        return []
    found: dict[Segment, None] = {}
    for address in listening:
        host = ip(address.host)
        if host is None:
            continue
        if host.is_unspecified:
            found.update(dict.fromkeys(Segment(index, own, address.port) for index, own in _shared(host.version)))
        elif isinstance(host, IPv4Address):
            found[Segment(0, str(host), address.port)] = None
        else:
            own = _unzoned(host)
            found.update(dict.fromkeys(Segment(index, own, address.port) for index in _having(own)))
    return list(found)[:MAX_SEGMENTS]


class Channel:
    """The multicast socket for one segment. The constructor raises OSError if the segment has no multicast."""

    def __init__(self, segment: Segment, group: Group) -> None:
        self.segment = segment
        self._to: tuple[str, int] | tuple[str, int, int, int]
        self.socket = socket.socket(socket.AF_INET6 if segment.is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            # The peers on one machine, even of several users, share the port, and each receives everything.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if segment.is_v6:
                self._join_v6(group)
            else:
                self._join_v4(group)
        except BaseException:
            self.socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Sends to all on the segment. Raises OSError."""
        if self.segment.is_v6:
            source = socket.inet_pton(socket.AF_INET6, self.segment.host) + struct.pack("=I", self.segment.interface)
            self.socket.sendmsg([data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)], 0, self._to)
        else:
            self.socket.sendto(data, self._to)

    def receive(self, most: int) -> tuple[bytes, str | None]:
        """Receives at most `most` bytes of a datagram. Returns them, and the host on this segment that sent it.

        The host has a zone; it is None if the datagram came from elsewhere. Raises OSError; BlockingIOError if there is
        no datagram.
        """
        data, ancillary, _, source = self.socket.recvmsg(most, socket.CMSG_SPACE(4))
        ttls = [int.from_bytes(value[:4], sys.byteorder) for _, _, value in ancillary]
        host = canonical(source[0].partition("%")[0])
        if ttls != [1] or not self._is_near(host):
            return data, None
        parsed = ip(host)
        if isinstance(parsed, IPv6Address) and parsed.is_link_local:
            with suppress(OSError):
                host = f"{host}%{socket.if_indextoname(self.segment.interface)}"
        return data, host

    def close(self) -> None:
        self.socket.close()

    def _is_near(self, host: str) -> bool:
        """Whether to believe that the host is on this segment. A public one must be in this machine's own network.

        A loopback host is believed only on loopback. So no host here can send all peers here to a machine elsewhere.
        """
        match scope(host):
            case Scope.GLOBAL:
                return prefix(host) == prefix(self.segment.host)
            case Scope.MACHINE:
                return scope(self.segment.host) == Scope.MACHINE
            case _:
                return True

    def _join_v4(self, group: Group) -> None:
        index, own = self.segment.interface, socket.inet_aton(self.segment.host)
        membership = struct.pack("=4s4si", socket.inet_aton(group.v4), own, index)
        self.socket.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)  # not other sockets' groups
        self.socket.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        self.socket.bind((group.v4, group.port))
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        self._to = group.v4, group.port

    def _join_v6(self, group: Group) -> None:
        index = self.segment.interface
        membership = socket.inet_pton(socket.AF_INET6, group.v6) + struct.pack("=I", index)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self._to = group.v6, group.port, 0, index
        self.socket.bind(self._to)  # the zone keeps out what arrives on other interfaces
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)


def _shared(version: int) -> Iterator[tuple[int, str]]:
    """The index of each interface on which there may be other machines, and its address there: link-local for IPv6."""
    import psutil  # late: not needed while a peer starts

    addresses = psutil.net_if_addrs()
    for name, state in psutil.net_if_stats().items():
        flags = set(state.flags.split(","))
        if not state.isup or not flags >= _WANTED or flags & _UNWANTED:
            continue
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        found = [ip(one.address) for one in addresses.get(name, ()) if one.family == family]
        own = [host for host in found if host is not None and (version == 4 or host.is_link_local)]
        with suppress(OSError):  # the interface has just gone
            yield from ((socket.if_nametoindex(name), _unzoned(host)) for host in own[:1])


def _having(wanted: str) -> Iterator[int]:
    """The index of each interface that has this IPv6 address."""
    import psutil  # late, as above

    for name, addresses in psutil.net_if_addrs().items():
        own = {_unzoned(found) for one in addresses if (found := ip(one.address))}
        with suppress(OSError):  # the interface has just gone
            if wanted in own:
                yield socket.if_nametoindex(name)


def _unzoned(address: IPv4Address | IPv6Address) -> str:
    return str(address).partition("%")[0]
