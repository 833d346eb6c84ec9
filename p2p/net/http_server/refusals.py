"""Why a request is refused, whatever it asks for; and under which address the host that sent it is counted."""

import ipaddress
import math

from p2p.errors import MalformedMessage, Refused
from p2p.wire.address import ip


class TooMuch(Refused):
    """Raised for too many requests, in total or simultaneously; the client may try again after `retry_s` seconds."""

    def __init__(self, message: str, retry_s: float) -> None:
        super().__init__(message)
        self.retry_s = max(1, math.ceil(retry_s))


class TooLarge(MalformedMessage):
    """Raised for a request whose body is larger than that of any valid request."""


class TooSlow(MalformedMessage):
    """Raised for a request whose body did not arrive in time."""


def subject(host: str) -> str:
    """The address that a host is counted under: an IPv4 address, or the /64 network of an IPv6 address."""
    address = ip(host)
    if address is None or address.version == 4:
        return str(address or host)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
