"""Who keeps a place where places are few: those that are useful, and a few newcomers that are being tried.

    enter --> regular     a place is free, or its holder had a period to be useful in, and was not
          --> on trial    otherwise: a few places, shared out among networks
          --> refused     all on trial are of as many networks, and came only just now
    on trial --(useful)--> regular    a place is free, or its holder did less lately, which is then on trial itself
    regular, on trial --(displaced by a newcomer, leave)--> gone

Useful is what the caller counts: bytes that were verified, units that were done. To be there, to be old and to say so
count for nothing. So a holder keeps its place by work, and whoever fills all places with idle identities of one network
keeps a newcomer of another network from none of the places on trial: of those, each network has its share, and within a
network the one that has been there for longest goes first; but first of all those that were of no use yet.

This module does no IO: the time comes as an argument, in seconds.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
TRIED_S = 0.5
"""How long one on trial is left there at least, unless its network has more places on trial than others. One that is
useful is left there for a period.
"""
_WIDE_BITS, _NARROW_BITS = {4: 16, 6: 32}, {4: 24, 6: 64}

Networks = tuple[object, object]
"""The wide network of a host, and the narrow one in it."""


class Entry(NamedTuple, Generic[K]):
    """Whether a newcomer has a place, and who has lost it."""

    admitted: bool
    displaced: K | None = None


@dataclass(eq=False)
class _Holder:
    networks: Networks
    since: float
    period: int = 0
    before: float = 0.0
    """What it did in the period before `period`."""
    lately: float = 0.0
    """What it did in `period`."""


class Places(Generic[K]):
    """`most` places, of which `tried` are for those on trial. Whoever is useful is so for the next `period_s`."""

    def __init__(self, most: int, tried: int, period_s: float) -> None:
        assert 0 < tried <= most
        self._most_regular, self._most_tried = most - tried, tried
        self._period_s = period_s
        self._regular: dict[K, _Holder] = {}
        self._tried: dict[K, _Holder] = {}

    def __len__(self) -> int:
        return len(self._regular) + len(self._tried)

    def __contains__(self, key: object) -> bool:
        return key in self._regular or key in self._tried

    def enter(self, key: K, host: str, now: float) -> Entry[K]:
        """Asks for a place for a newcomer at this host."""
        assert key not in self
        newcomer = _Holder(networks_of(host), now, self._period(now))
        if len(self._regular) < self._most_regular:
            self._regular[key] = newcomer
            return Entry(True)
        if (idle := self._idle(now)) is not None:
            del self._regular[idle]
            self._regular[key] = newcomer
            return Entry(True, idle)
        if len(self._tried) < self._most_tried:
            self._tried[key] = newcomer
            return Entry(True)
        victim = self._on_trial_for_long_enough(newcomer.networks, now)
        if victim is None:
            return Entry(False)
        del self._tried[victim]
        self._tried[key] = newcomer
        return Entry(True, victim)

    def useful(self, key: K, amount: float, now: float) -> None:
        """Counts work that a holder has done; does nothing if it has no place. One on trial changes places with the
        regular one that did least lately, if that did less; so nobody loses a place by this.
        """
        holder = self._regular.get(key) or self._tried.get(key)
        if holder is None:
            return
        self._roll(holder, now)
        holder.lately += amount
        if key in self._regular:
            return
        if self._regular and len(self._regular) >= self._most_regular:
            least, other = min(self._regular.items(), key=lambda held: (self._work(held[1], now), held[1].since))
            if self._work(other, now) >= self._work(holder, now):
                return
            self._tried[least] = self._regular.pop(least)
            other.since = now
        if len(self._regular) < self._most_regular:
            self._regular[key] = self._tried.pop(key)

    def leave(self, key: K) -> None:
        """Frees a holder's place; does nothing if it has none."""
        self._regular.pop(key, None)
        self._tried.pop(key, None)

    def _period(self, now: float) -> int:
        return int(now // self._period_s)

    def _roll(self, holder: _Holder, now: float) -> None:
        period = self._period(now)
        if period != holder.period:
            holder.before = holder.lately if period == holder.period + 1 else 0.0
            holder.lately, holder.period = 0.0, period

    def _work(self, holder: _Holder, now: float) -> float:
        """What a holder has done lately: in the running period and the one before."""
        self._roll(holder, now)
        return holder.before + holder.lately

    def _idle(self, now: float) -> K | None:
        """A regular holder that had a period to show what it does, and did nothing useful in the last one: of the most
        crowded network, the one that has been there for longest.
        """
        wide, narrow = _counts(one.networks for one in self._regular.values())
        ranked = [
            ((-wide[one.networks[0]], -narrow[one.networks[1]], one.since), key)
            for key, one in self._regular.items()
            if now - one.since >= self._period_s and not self._work(one, now)
        ]
        return min(ranked, key=lambda found: found[0])[1] if ranked else None

    def _on_trial_for_long_enough(self, networks: Networks, now: float) -> K | None:
        """Whom a newcomer of these networks displaces from the places on trial."""
        wide, narrow = _counts([networks, *(one.networks for one in self._tried.values())])
        ranked = [
            ((self._work(one, now) > 0, -wide[one.networks[0]], -narrow[one.networks[1]], one.since), key)
            for key, one in self._tried.items()
        ]
        (is_useful, *_), victim = min(ranked, key=lambda found: found[0])
        holder = self._tried[victim]
        has_more = wide[holder.networks[0]] > wide[networks[0]] or narrow[holder.networks[1]] > narrow[networks[1]]
        is_its_own = holder.networks[1] == networks[1] and not is_useful
        patience_s = self._period_s if is_useful else TRIED_S
        return victim if has_more or is_its_own or now - holder.since >= patience_s else None


def _counts(networks: Iterable[Networks]) -> tuple[Counter[object], Counter[object]]:
    """How many there are of each wide network, and of each narrow one."""
    wide, narrow = Counter[object](), Counter[object]()
    for outer, inner in networks:
        wide[outer] += 1
        narrow[inner] += 1
    return wide, narrow


@lru_cache(maxsize=4096)
def networks_of(host: str) -> Networks:
    """A host's networks: /16 and /24 of IPv4, /32 and /64 of IPv6. What is no address is a network of its own."""
    try:
        address = ip_address(host)
    except ValueError:
        return host, host
    version, bits, number = address.version, address.max_prefixlen, int(address)
    wide, narrow = _WIDE_BITS[version], _NARROW_BITS[version]
    return (version, number >> (bits - wide)), (version, number >> (bits - narrow))
