"""How much anybody may ask, announce and keep here. Bounds on memory first, then fairness between addresses.

An address is an IPv4 address or an IPv6 /64, which is what one customer usually gets.
"""

import ipaddress
import math
from dataclasses import dataclass

from p2p.bucket import TokenBuckets
from p2p.errors import Refused
from p2p.wire.address import ip


class TooMuch(Refused):
    """Too many requests, or too many at once; worth another try after `retry_s` seconds."""

    def __init__(self, message: str, retry_s: float) -> None:
        super().__init__(message)
        self.retry_s = max(1, math.ceil(retry_s))


@dataclass(frozen=True)
class Limits:
    """All of them; rates are a second, bursts what may come at once."""

    shares_per_peer: int = 20_000
    text_per_peer: int = 32 * 1024 * 1024
    peers_per_address: int = 256
    names_per_share: int = 8
    peers: int = 200_000
    """Live ones."""
    known_peers: int = 400_000
    """Whose sequence is remembered, so that no old announce can be said again."""
    rows: int = 8_000_000
    """Sources in all."""
    text: int = 8 * 1024**3

    request_rate: float = 50.0
    request_burst: float = 500.0
    announce_rate: float = 10.0
    """Of one address."""
    announce_burst: float = 300.0
    peer_rate: float = 5.0
    """Of one peer; each hundred changed shares count as one announce more."""
    peer_burst: float = 300.0
    dial_rate: float = 1.0
    """Of dial-backs to one address."""
    dial_burst: float = 32.0
    waiting_announces: int = 512
    waiting_dials: int = 1024
    event_streams: int = 512
    event_streams_per_address: int = 32


def subject(host: str) -> str:
    """The address that a host counts to."""
    address = ip(host)
    if address is None or address.version == 4:
        return str(address or host)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


class Rates:
    """What each of many names may do."""

    def __init__(self, rate: float, burst: float, most: int = 50_000) -> None:
        self._buckets = TokenBuckets(rate, burst, most)

    def take(self, name: str | bytes, now: float, amount: float = 1.0) -> None:
        """Raises TooMuch where the name has used up what it may."""
        if not self._buckets.try_take(name, min(amount, self._buckets.burst), now):
            retry_s = amount / self._buckets.rate
            raise TooMuch("Too many requests. Wait a little, then try again.", retry_s)
