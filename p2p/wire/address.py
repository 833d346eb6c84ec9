"""Network addresses as text and as values: IPv4, IPv6, host names, and prefixes, which group peers for limits."""

import ipaddress
import re
from typing import Annotated, NamedTuple

import msgspec

from p2p.errors import ConfigError
from p2p.formats import quoted

Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]

_ZONED = re.compile(r"[0-9A-Fa-f:.]+%[A-Za-z0-9_.-]{1,32}")
_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


class Address(NamedTuple):
    """Where a peer listens: a host (an IP address or a name) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, any_port: bool = False) -> Address:
    """Parses `host:port` or `[v6]:port`; port 0 is accepted only with `any_port`. Raises ConfigError."""
    host, separator, port_text = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        valid_host = ip(host) is not None
    else:
        valid_host = ":" not in host and is_host(host)
    if not separator or not valid_host or not (port_text.isascii() and port_text.isdigit()) or len(port_text) > 5:
        raise ConfigError(
            f"{quoted(text)} is not an address. Write HOST:PORT, for example 192.0.2.7:7474 or [2001:db8::7]:7474."
        )
    port = int(port_text)
    if not (0 if any_port else 1) <= port <= 65535:
        raise ConfigError(f"{quoted(text)} has no valid port: ports go from {0 if any_port else 1} to 65535.")
    return Address(host, port)


def is_host(text: str) -> bool:
    """Whether the text is an IP address or a host name, and nothing else."""
    return ip(text) is not None or (len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None)


def ip(text: str) -> _Ip | None:
    """The text as an IP address (a v4 address mapped into v6 becomes v4 again), or None."""
    if "%" in text and _ZONED.fullmatch(text) is None:
        return None  # the standard library accepts any text as the name of a zone, even a terminal's control codes
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def canonical(host: str) -> str:
    """The canonical text of an IP address; a host name is returned unchanged."""
    return str(ip(host) or host)


def prefix(host: str) -> str:
    """The network that a host counts towards when connections and slots are allocated: a /24 of IPv4, a /48 of IPv6."""
    address = ip(host)
    if address is None:
        return host
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


class Scope:
    """How far an address is valid: on this machine, in a private network, or everywhere."""

    MACHINE, PRIVATE, GLOBAL = range(3)


def scope(host: str) -> int:
    """The `Scope` of a host; names count as global. An address that embeds an IPv4 address has that one's scope."""
    address = ip(host)
    if address is None:
        return Scope.GLOBAL
    widest = Scope.PRIVATE if address in _LOCAL_NAT64 else Scope.GLOBAL
    return min(widest, *map(_scope, _embedded(address) or (address,)))


def is_dialable_host(host: str) -> bool:
    """Whether a peer can be there: at a host name, or an address of exactly one machine.

    Multicast, broadcast, unspecified and reserved addresses are neither passed on nor dialled, whoever names them:
    0.0.0.0, if dialled, would be this machine.
    """
    address = ip(host)
    if address is None:
        return is_host(host)
    return all(map(_is_of_one_machine, (address, *_embedded(address))))


def is_link_local(host: str) -> bool:
    """Whether the address is link-local: it means nothing on other machines, nor on this one without its interface."""
    address = ip(host)
    return address is not None and address.is_link_local


def may_tell(about: str, to: str) -> bool:
    """Whether a peer at `to` may be told the address `about`: only if its scope is at least as wide as that of `to`.

    So a stranger on the Internet is never told a private address, nor anybody on another machine a loopback address.
    """
    return scope(about) >= scope(to)


def _scope(address: _Ip) -> int:
    if address.is_loopback:
        return Scope.MACHINE
    local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return Scope.GLOBAL if address.is_global and not local else Scope.PRIVATE


def _is_of_one_machine(address: _Ip) -> bool:
    if address.is_loopback or address in _NAT64 or address in _LOCAL_NAT64:
        return True
    of_nobody = address in _THIS_NETWORK or address.is_unspecified or address.is_reserved
    return not (of_nobody or address.is_multicast)


def _embedded(address: _Ip) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that packets for this IPv6 address pass: 6to4, Teredo, NAT64, IPv4-compatible.

    A mapped address has already become an IPv4 one (`ip`).
    """
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return ()
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    last = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64 or address in _COMPATIBLE:
        return (last,)
    if address in _LOCAL_NAT64:
        # Only that network knows where in it the IPv4 address is (RFC 6052): these are the first and last places.
        first = ipaddress.IPv4Address((int(address) >> 64 & 0xFFFF) << 16 | int(address) >> 40 & 0xFFFF)
        return tuple(found for found in (first, last) if int(found))
    return ()
