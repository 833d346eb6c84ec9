"""Network addresses as text and as values: IPv4, IPv6 and host names, and the prefix by which peers are counted."""

import ipaddress
import re
from typing import Annotated, NamedTuple

import msgspec

from p2p.errors import ConfigError

Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]

_ZONED = re.compile(r"[0-9A-Fa-f:.]+%[A-Za-z0-9_.-]{1,32}")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


class Address(NamedTuple):
    """Where a peer listens: a host (an IP address or a name) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, any_port: bool = False) -> Address:
    """`host:port` or `[v6]:port`; port 0 only with `any_port`. Raises ConfigError."""
    host, separator, port_text = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        valid_host = ip(host) is not None
    else:
        valid_host = ":" not in host and is_host(host)
    if not separator or not valid_host or not (port_text.isascii() and port_text.isdigit()) or len(port_text) > 5:
        raise ConfigError(
            f"{text!r} is not an address. Write HOST:PORT, for example 192.0.2.7:7474 or [2001:db8::7]:7474."
        )
    port = int(port_text)
    if not (0 if any_port else 1) <= port <= 65535:
        raise ConfigError(f"{text!r} has no valid port: ports go from 1 to 65535.")
    return Address(host, port)


def is_host(text: str) -> bool:
    """Whether the text is an IP address or a host name, and nothing else."""
    return ip(text) is not None or (len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None)


def ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The text as an IP address (a v4 address mapped into v6 becomes v4 again), or None."""
    if "%" in text and _ZONED.fullmatch(text) is None:
        return None  # the standard library takes anything for the name of a zone, a terminal's commands too
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def canonical(host: str) -> str:
    """The one way to write an IP address; a host name as it is."""
    return str(ip(host) or host)


def prefix(host: str) -> str:
    """The network that a host counts to when connections and slots are shared out: /24 of IPv4, /48 of IPv6."""
    address = ip(host)
    if address is None:
        return host
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


class Scope:
    """How far an address means anything: this machine, a private network, or everywhere."""

    MACHINE, PRIVATE, GLOBAL = range(3)


def scope(host: str) -> int:
    """The `Scope` of a host; names count as global."""
    address = ip(host)
    if address is None or address.is_global:
        return Scope.GLOBAL
    return Scope.MACHINE if address.is_loopback else Scope.PRIVATE


def may_tell(about: str, to: str) -> bool:
    """Whether a peer at `to` may be told of the address `about`: never a narrower one than its own.

    So a stranger on the Internet is told no private address, and nobody elsewhere one of this machine's loopback.
    """
    return scope(about) >= scope(to)
