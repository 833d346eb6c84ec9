"""Who keeps a place where places are few. Two rules, and every bounded place has one of them.

`Places` are kept by work: by those that are useful, and a few newcomers that are being tried.

    enter --> regular     a place is free, or its holder had a period to be useful in, and was not
          --> on trial    otherwise: a few places, shared out among networks
          --> refused     all on trial are of as many networks, and came only just now
          --> regular     instead of one that only waits, of a network that has more places
    on trial --(useful)--> regular    a place is free, or its holder did less lately, which is then on trial itself
    regular, on trial --(displaced by a newcomer, leave)--> gone

Useful is what the caller counts: bytes that were verified, units that were done. To be there, to be old and to say so
count for nothing. So a holder keeps its place by work, and whoever fills all places with idle identities of one network
keeps a newcomer of another network from none of the places on trial: from those, whoever is of a network that has more
places than the newcomer's goes first, and within a network the one that has been there for longest; but before them
those that were of no use yet.

A holder that waits for something that others have now, and shows by a round trip that it is there, is not idle. It has
its place by share: it makes room, the last to come first, for a newcomer of a network that has fewer places.

`Seats` are for those whose nature is to wait. They are shared out among networks; within one, who came first stays.

Networks nest: a host's /24 counts in its /16. This module does no IO: times come as arguments, in seconds.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Generic, Literal, NamedTuple, TypeVar

from p2p.crowds import Crowd, Networks

K = TypeVar("K", bound=Hashable)
Name = Literal[
    "connections",
    "dials",
    "upload slots",
    "unread frames",
    "remembered addresses",
    "dialled sources",
    "callers of a fetch",
    "sources of a fetch",
    "waiting owners",
    "lingering outputs",
    "volunteers that call",
    "connections over http",
    "clients of doors",
    "event streams",
    "peers to dial back",
    "peers of torrents",
    "blocks of request bodies",
    "blocks of an index",
    "waiting questions",
    "waiting announces",
]
"""All bounded places, each made once. docs/threats.md has a line for each, with its bound, its rule and its test."""
TRIED_S = 0.5
"""How long one on trial is left there at least, unless its network has more places than the newcomer's. One that is
useful is left there for a period.
"""
UNVERIFIED = 1e-6
"""How much a byte counts that may still turn out to be wrong, compared with one that was right."""
_BITS = {4: (16, 24, 32), 6: (32, 48, 64)}

_NEVER = -2

NARROW = 1
"""Which of a host's networks is the one that most people have to themselves."""


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
    waited: int = _NEVER
    """The last period in which it showed that it waits."""


class Places(Generic[K]):
    """`most` places, of which `tried` are for those on trial. Whoever is useful is so for the next `period_s`.

    If `most_alike` is given, so many may be of one network: a newcomer to a full network takes the place of the one of
    that network that has been there for longest and was of no use lately, or of one that waits, of a host with more.
    """

    def __init__(self, name: Name, most: int, tried: int, period_s: float, most_alike: int | None = None) -> None:
        assert 0 < tried <= most
        self.name = name
        self._most_regular, self._most_tried = most - tried, tried
        self._period_s = period_s
        self._most_alike = most_alike
        self._regular: dict[K, _Holder] = {}
        self._tried: dict[K, _Holder] = {}
        self._crowd: Crowd[K] = Crowd()

    def __len__(self) -> int:
        return len(self._regular) + len(self._tried)

    def __contains__(self, key: object) -> bool:
        return key in self._regular or key in self._tried

    @property
    def is_full(self) -> bool:
        return len(self) >= self._most_regular + self._most_tried

    def enter(self, key: K, host: str, now: float, *, named_by: str | None = None) -> Entry[K]:
        """Asks for a place for a newcomer at this host. If a host named it, places are shared out among those first."""
        assert key not in self
        networks = networks_of(host)
        if named_by is not None:
            networks = (*networks_of(named_by), *networks)
        newcomer = _Holder(networks, now, self._period(now))
        if self._most_alike is not None and self._crowd.sizes(networks)[NARROW] >= self._most_alike:
            return self._enter_full_network(key, newcomer, now)
        self._settle(now)
        if len(self._regular) < self._most_regular:
            return self._replace(self._regular, None, key, newcomer)
        if (idle := self._idle(now)) is not None:
            return self._replace(self._regular, idle, key, newcomer)
        if len(self._tried) < self._most_tried:
            return self._replace(self._tried, None, key, newcomer)
        if (waiting := self._waiting_rival(self._regular, key, networks, now)) is not None:
            return self._replace(self._regular, waiting, key, newcomer)
        victim = self._on_trial_for_long_enough(key, newcomer.networks, now)
        return Entry(False) if victim is None else self._replace(self._tried, victim, key, newcomer)

    def useful(self, key: K, amount: float, now: float) -> None:
        """Counts work that a holder has done; does nothing if it has no place. Nobody loses a place by this."""
        holder = self._regular.get(key) or self._tried.get(key)
        if holder is not None:
            self._roll(holder, now)
            holder.lately += amount

    def waits(self, key: K, now: float) -> None:
        """Notes that a holder has shown that it is there, and waits; does nothing if it has no place."""
        holder = self._regular.get(key) or self._tried.get(key)
        if holder is not None:
            holder.waited = self._period(now)

    def leave(self, key: K) -> None:
        """Frees a holder's place; does nothing if it has none."""
        holder = self._regular.pop(key, None) or self._tried.pop(key, None)
        if holder is not None:
            self._crowd.remove(key, holder.networks)

    def _replace(self, held: dict[K, _Holder], victim: K | None, key: K, newcomer: _Holder) -> Entry[K]:
        if victim is not None:
            self._crowd.remove(victim, held.pop(victim).networks)
        self._crowd.add(key, newcomer.networks)
        held[key] = newcomer
        return Entry(True, victim)

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

    def _is_idle(self, holder: _Holder, now: float) -> bool:
        """Whether a holder neither did anything useful lately nor waits."""
        return not self._work(holder, now) and not self._waits(holder, now)

    def _waits(self, holder: _Holder, now: float) -> bool:
        return self._period(now) - holder.waited <= 1

    def _settle(self, now: float) -> None:
        """Gives those on trial that were useful the regular places that are free, and those of holders that did less
        lately, which are then on trial themselves.
        """
        proven = [(work, key) for key, one in self._tried.items() if (work := self._work(one, now))]
        if not proven:
            return
        proven.sort(key=lambda found: -found[0])
        free = self._most_regular - len(self._regular)
        for _, key in proven[:free]:
            self._regular[key] = self._tried.pop(key)
        least = sorted((self._work(one, now), one.since, at) for at, one in enumerate(self._regular.values()))
        regular = list(self._regular)
        for (work, key), (other_work, _, at) in zip(proven[free:], least, strict=False):
            if work <= other_work:
                break
            other = regular[at]
            self._tried[other] = self._regular.pop(other)
            self._tried[other].since = now
            self._regular[key] = self._tried.pop(key)

    def _enter_full_network(self, key: K, newcomer: _Holder, now: float) -> Entry[K]:
        idle = [
            (one.since, at, other, held)
            for held in (self._regular, self._tried)
            for at, (other, one) in enumerate(held.items())
            if one.networks[NARROW] == newcomer.networks[NARROW] and self._is_idle(one, now)
        ]
        if idle:
            _, _, victim, held = min(idle, key=lambda found: found[:2])
            return self._replace(held, victim, key, newcomer)
        for held in (self._regular, self._tried):
            # Whoever is in the same network has more places only if its host has.
            same = {other: one for other, one in held.items() if one.networks[NARROW] == newcomer.networks[NARROW]}
            if (waiting := self._waiting_rival(same, key, newcomer.networks, now)) is not None:
                return self._replace(held, waiting, key, newcomer)
        return Entry(False)

    def _waiting_rival(self, held: dict[K, _Holder], newcomer: K, networks: Networks, now: float) -> K | None:
        """Of those that only wait, the last to come of the network that has most, if a newcomer of these networks would
        have less.
        """
        waiting = [(key, one) for key, one in held.items() if self._waits(one, now) and not self._work(one, now)]
        self._crowd.add(newcomer, networks)
        ranked = [((self._crowd.sizes(one.networks), one.since, at), key) for at, (key, one) in enumerate(waiting)]
        own_share = self._crowd.sizes(networks)
        self._crowd.remove(newcomer, networks)
        if not ranked:
            return None
        (share, _, _), rival = max(ranked, key=lambda found: found[0])
        return rival if share > own_share else None

    def _idle(self, now: float) -> K | None:
        """A regular holder that had a period to show what it does, and neither did anything useful in the last one nor
        waits: of the most crowded network, the one that has been there for longest.
        """
        ranked = [
            ((self._crowd.sizes(one.networks), -one.since), key)
            for key, one in self._regular.items()
            if now >= one.since + self._period_s and self._is_idle(one, now)
        ]
        return max(ranked, key=lambda found: found[0])[1] if ranked else None

    def _on_trial_for_long_enough(self, newcomer: K, networks: Networks, now: float) -> K | None:
        """Whom a newcomer of these networks displaces from the places on trial."""
        self._crowd.add(newcomer, networks)
        ranked = [
            ((self._is_idle(one, now), not self._work(one, now), self._crowd.sizes(one.networks), -one.since), key)
            for key, one in self._tried.items()
        ]
        own_share = self._crowd.sizes(networks)
        self._crowd.remove(newcomer, networks)
        # All are looked at: one that has just come must not protect those behind it.
        for (is_idle, _, share, _), victim in sorted(ranked, key=lambda found: found[0], reverse=True):
            # Whoever is of a network with fewer places has a period to be of use, whoever crowds around it.
            patience_s = TRIED_S if is_idle and share >= own_share else self._period_s
            if share > own_share or now >= self._tried[victim].since + patience_s:
                return victim
        return None


class Seats(Generic[K]):
    """`most` places for those that only wait. If none is free, a newcomer takes the place of the last to come of the
    network that has most, if that is more than the newcomer's would have; otherwise it is refused.

    If `most_alike` is given, so many may be of one network, which the hosts in it share in the same way.
    """

    __slots__ = ("_crowd", "_holders", "_most_alike", "most", "name")

    def __init__(self, name: Name, most: int, most_alike: int | None = None) -> None:
        self.name = name
        self.most = most
        self._most_alike = most_alike
        self._holders: dict[K, Networks] = {}
        self._crowd: Crowd[K] = Crowd()

    def __len__(self) -> int:
        return len(self._holders)

    def __contains__(self, key: object) -> bool:
        return key in self._holders

    def enter(self, key: K, host: str) -> Entry[K]:
        """Asks for a place for a newcomer at this host."""
        assert key not in self
        networks, displaced = networks_of(host), None
        is_network_full = self._most_alike is not None and self._crowd.sizes(networks)[NARROW] >= self._most_alike
        if is_network_full or len(self._holders) >= self.most:
            crowded = self._crowd.outdone(key, networks, networks[: NARROW + 1] if is_network_full else ())
            if not crowded:
                return Entry(False)
            [displaced] = self._crowd.last(crowded, 1)
            self.leave(displaced)
        self._holders[key] = networks
        self._crowd.add(key, networks)
        return Entry(True, displaced)

    def rivals(self, host: str) -> list[K]:
        """The holders of the networks that have most, if that is more than a newcomer's would have; the oldest first.

        Looks at all holders.
        """
        own_share = self.share(host)
        networks = networks_of(host)
        shares = {
            key: tuple(size + (network in networks) for size, network in zip(self._crowd.sizes(its), its, strict=True))
            for key, its in self._holders.items()
        }
        largest = max(shares.values(), default=())
        return [key for key, share in shares.items() if share == largest > own_share]

    def share(self, host: str, *, instead_of: K | None = None) -> tuple[int, ...]:
        """How many places a newcomer's networks would have with it, if that holder left; the widest counts first."""
        networks = networks_of(host)
        left = () if instead_of is None else self._holders[instead_of]
        sizes = self._crowd.sizes(networks)
        return tuple(1 + size - (network in left) for size, network in zip(sizes, networks, strict=True))

    def leave(self, key: K) -> None:
        """Frees a holder's place; does nothing if it has none."""
        if key in self._holders:
            self._crowd.remove(key, self._holders.pop(key))


def network_of(host: str) -> Hashable:
    """The network that most people have to themselves: a /24 of IPv4, a /48 of IPv6."""
    return networks_of(host)[NARROW]


@lru_cache(maxsize=4096)
def networks_of(host: str) -> Networks:
    """A host's networks: /16, /24 and itself of IPv4, /32, /48 and /64 of IPv6. A name is a network of its own."""
    try:
        address = ip_address(host)
    except ValueError:
        return tuple((host, level) for level in range(3))
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    version, length, number = address.version, address.max_prefixlen, int(address)
    # Numbers that tell apart networks of all lengths: quick to compare, and small.
    return tuple((number >> (length - bits)) << 8 | bits << 1 | (version == 6) for bits in _BITS[version])
