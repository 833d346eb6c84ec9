"""Which queries of the DHT are worth checking a signature for, when more come than this node may check.

Each host has a rate, and all together have one. While more than half of the common burst is left, whoever keeps to its
own rate is admitted. Below, networks share what there is: in each second, no network gets more than an equal part for
each that asks, no network in it more than an equal part of that, and no host more than an equal part of its
network's. So a flood from few networks leaves the others their parts. The sender of a UDP datagram can be forged, and
so can any number of networks: therefore half of the rate is shared among hosts that have proven where they are, as far
as they use it, and the last quarter of the burst is for them alone.

This module does no IO: the time comes as an argument, in seconds.
"""

from collections import Counter, OrderedDict

from p2p.bucket import TokenBucket, TokenBuckets
from p2p.core.dht.origins import origin_of

QUERIES_PER_S, QUERY_BURST = 100.0, 200.0
"""The most queries from one IPv4 address or IPv6 /64: per second, and at once."""
ALL_QUERIES_PER_S, ALL_QUERY_BURST = 1000.0, 2000.0
"""The most queries from all addresses together: verifying this many takes about a sixth of a core."""
MAX_SOURCES = 4096
MAX_PROVEN = 1024
MAX_ASKED = 8192
"""The most networks and hosts that are told apart in one second."""
SHARED_BELOW, PROVEN_BELOW = 0.5, 0.25
"""Parts of the common burst."""


class QueryRates:
    """Counts queries by host and network, and admits those that have their share."""

    def __init__(self, now: float) -> None:
        self._sources = TokenBuckets(QUERIES_PER_S, QUERY_BURST, MAX_SOURCES)
        self._all = TokenBucket(ALL_QUERIES_PER_S, ALL_QUERY_BURST, now)
        self._second = int(now)
        self._now, self._before = _second(), _second()
        self._proven: OrderedDict[str, None] = OrderedDict()

    def proven(self, host: str) -> None:
        """Records that a host is where it says: it has repeated what was sent there."""
        self._proven[host] = None
        self._proven.move_to_end(host)
        if len(self._proven) > MAX_PROVEN:
            self._proven.popitem(last=False)

    def admits(self, host: str, now: float) -> bool:
        """Whether a query from this host may cost a check now, which is then counted."""
        left, is_proven = self._all.fullness(now), host in self._proven
        if left <= PROVEN_BELOW and not is_proven:
            return False  # first of all: an address that is new costs time to read
        path = origin_of(host).nested
        if not self._sources.try_take(str(path[-1]), 1, now):
            return False
        self._turn(now)
        self._now[is_proven].ask(path)
        if left <= SHARED_BELOW and not self._has_share(path, is_proven=is_proven):
            return False
        if not self._all.try_take(1, now):
            return False
        self._now[is_proven].take(path)
        return True

    def _turn(self, now: float) -> None:
        """Begins to count again in each second."""
        second = int(now)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else _second()
            self._now, self._second = _second(), second

    def _has_share(self, path: tuple[int, ...], *, is_proven: bool) -> bool:
        now, before = self._now[is_proven], self._before[is_proven]
        share, outer = ALL_QUERIES_PER_S / 2, 0
        if not is_proven:
            share = max(share, ALL_QUERIES_PER_S - self._before[True].total)
        for name in path:
            share = max(1.0, share / max(before.inside[outer], now.inside[outer], 1))
            if now.taken[name] + 1 > share:
                return False
            outer = name
        return True


class _Asked:
    """What was asked and admitted in one second, by network; and how many networks in each have asked."""

    def __init__(self) -> None:
        self.total = 0
        self.taken: Counter[int] = Counter()
        self.inside: Counter[int] = Counter()
        self._names: set[int] = set()

    def ask(self, path: tuple[int, ...]) -> None:
        outer = 0
        for name in path:
            if name not in self._names and len(self._names) < MAX_ASKED:
                self._names.add(name)
                self.inside[outer] += 1
            outer = name

    def take(self, path: tuple[int, ...]) -> None:
        self.total += 1
        self.taken.update(path)


def _second() -> dict[bool, _Asked]:
    """By whether a host has proven where it is."""
    return {False: _Asked(), True: _Asked()}
