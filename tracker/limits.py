"""How much a client may ask, announce and store.

The limits serve first to bound memory, and then to treat all addresses alike. Here, an address means an IPv4 address or
an IPv6 /64 network, which is what one customer usually gets.
"""

from dataclasses import dataclass

from p2p.bucket import TokenBuckets
from p2p.errors import Refused
from p2p.net.http_server.refusals import TooMuch


class TooLong(Refused):
    """Raised for a question that was stopped, since the tracker would have to read too much to answer it."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"The tracker stopped this search after {limit_s:g} s: too much matches it. Ask for rarer words, or leave "
            "out the filters."
        )


@dataclass(frozen=True)
class Limits:
    """All limits of a tracker. Rates are per second; a burst is how much is accepted before the rate applies."""

    shares_per_peer: int = 20_000
    text_per_peer: int = 32 * 1024 * 1024
    peers_per_address: int = 256
    names_per_share: int = 8
    peers: int = 200_000
    """The most live peers."""
    known_peers: int = 400_000
    """The most peers whose sequence number is remembered, so that an old announce cannot be replayed."""
    rows: int = 8_000_000
    """The most sources in total."""
    text: int = 8 * 1024**3
    """The most bytes of names and paths in total."""

    request_rate: float = 50.0
    request_burst: float = 500.0
    read_rate: float = 20_000.0
    """Rows of the database per second that are read for one address; a search reads up to 100,000."""
    read_burst: float = 600_000.0
    network_read_rate: float = 100_000.0
    """The same for all addresses of one network, an IPv4 /24 or an IPv6 /48."""
    network_read_burst: float = 2_000_000.0
    read_time_s: float = 0.5
    """How long a question may take before SQLite stops it."""
    waiting_reads: int = 512
    waiting_reads_per_address: int = 32
    announce_rate: float = 10.0
    """Announces per second from one address."""
    announce_burst: float = 300.0
    peer_rate: float = 5.0
    """Announces per second from one peer; each hundred changed shares count as one more."""
    peer_burst: float = 300.0
    dial_rate: float = 1.0
    """Dial-backs per second to one address."""
    dial_burst: float = 32.0
    waiting_announces: int = 512
    waiting_dials: int = 1024
    event_streams: int = 512
    event_streams_per_address: int = 32


class Rates:
    """Limits how much may be done per second under each of many names, such as addresses or peers."""

    def __init__(self, rate: float, burst: float, most: int = 50_000) -> None:
        self._buckets = TokenBuckets(rate, burst, most)

    def take(self, name: str | bytes, now: float, amount: float = 1.0) -> None:
        """Counts `amount` against the name. Raises TooMuch if the name has used up its allowance."""
        if not self._buckets.try_take(name, min(amount, self._buckets.burst), now):
            retry_s = amount / self._buckets.rate
            raise TooMuch("Too many requests. Wait a little, then try again.", retry_s)

    def admit(self, name: str | bytes, now: float) -> None:
        """Raises TooMuch while the name owes for what was done for it."""
        wait_s = self._buckets.wait(name, now)
        if wait_s:
            raise TooMuch("This address has had the tracker read too much. Wait a little, then try again.", wait_s)

    def owe(self, name: str | bytes, now: float, amount: float) -> None:
        """Counts what was done for the name, however much that is."""
        self._buckets.take(name, amount, now)
