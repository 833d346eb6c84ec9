"""Who holds places from where: counts by network, nested, and the network that holds most, at once.

A network in another counts in both: of two, the one whose outer network holds more is more crowded; if these hold the
same number, the inner ones decide.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from p2p.places import Networks, networks_of

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Shuffle = Callable[[list[Any]], None]
"""Puts a list into a random order."""


class Origin(NamedTuple):
    """Where something came from."""

    networks: Networks
    """Those of `places.networks_of`; none for a host that is exempt."""
    prefix: Hashable
    """The network that quotas are for: a /24 of IPv4, a /48 of IPv6; empty for a host that is exempt."""
    nested: tuple[int, ...]
    """A number for each of the networks, in the order of `networks`: quick to count by."""


EXEMPT = Origin((), "", ())


@lru_cache(maxsize=4096)
def origin_of(host: str) -> Origin:
    """The networks of a host; an empty text is a host that is exempt from all shares."""
    if not host:
        return EXEMPT
    networks = networks_of(host)
    return Origin(networks, networks[1], tuple(hash(networks[: depth + 1]) for depth in range(len(networks))))


class Crowd(Generic[K]):
    """Keys by their networks. All operations take the same short time, however many keys there are."""

    __slots__ = ("_by_size", "_inner", "_keys", "_largest", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._keys: dict[K, None] = {}
        self._inner: dict[Hashable, Crowd[K]] = {}
        self._by_size: dict[int, dict[Hashable, None]] = {}
        """The names of the networks that hold this many, from 1 to the most, without gaps at the upper end."""
        self._largest = 0

    def __len__(self) -> int:
        return self._size

    def add(self, key: K, networks: Sequence[Hashable]) -> None:
        self._size += 1
        if not networks:
            self._keys[key] = None
            return
        inner = self._inner.setdefault(networks[0], Crowd())
        inner.add(key, networks[1:])
        self._rank(networks[0], len(inner) - 1, len(inner))

    def remove(self, key: K, networks: Sequence[Hashable]) -> None:
        self._size -= 1
        if not networks:
            del self._keys[key]
            return
        inner = self._inner[networks[0]]
        inner.remove(key, networks[1:])
        self._rank(networks[0], len(inner) + 1, len(inner))
        if not len(inner):
            del self._inner[networks[0]]

    def sizes(self, networks: Sequence[Hashable]) -> tuple[int, ...]:
        """How many keys each of these networks holds."""
        if not networks or networks[0] not in self._inner:
            return (0,) * len(networks)
        inner = self._inner[networks[0]]
        return (len(inner), *inner.sizes(networks[1:]))

    def most_crowded(self, within: Sequence[Hashable] = ()) -> Networks:
        """The widest network that holds most, and so on inwards; none if there is no key. Of equals, the last.

        Looks only at what is `within` these networks, which come first in the answer.
        """
        if within:
            inner = self._inner.get(within[0])
            return () if inner is None else (within[0], *inner.most_crowded(within[1:]))
        if not self._inner:
            return ()
        name = next(reversed(self._by_size[self._largest]))
        return (name, *self._inner[name].most_crowded())

    def oldest_of_most_crowded(self) -> K:
        """The key that came first to the host in the network that holds most. Of equal networks, the one that has held
        as much for longest.
        """
        if not self._inner:
            return next(iter(self._keys))
        return self._inner[next(iter(self._by_size[self._largest]))].oldest_of_most_crowded()

    def last(self, networks: Sequence[Hashable], most: int) -> list[K]:
        """The keys that came last to the innermost of these networks, at most this many."""
        if networks:
            return self._inner[networks[0]].last(networks[1:], most) if networks[0] in self._inner else []
        return list(islice(reversed(self._keys), most))

    def _rank(self, name: Hashable, before: int, now: int) -> None:
        if before:
            del self._by_size[before][name]
            if not self._by_size[before]:
                del self._by_size[before]
        if now:
            self._by_size.setdefault(now, {})[name] = None
        # Sizes change by one: whoever was alone with the largest is still there, one above or below.
        if now > self._largest or (before == self._largest and before not in self._by_size):
            self._largest = now


def in_turns(found: Sequence[tuple[Networks, V]], shuffle: Shuffle) -> list[V]:
    """The values in a random order in which each network has its turn, and within its turns each network in it."""
    lanes: dict[Hashable, list[tuple[Networks, V]]] = {}
    for number, (networks, value) in enumerate(found):
        lanes.setdefault(networks[0] if networks else number, []).append((networks[1:], value))
    ordered = [[lane[0][1]] if len(lane) == 1 else in_turns(lane, shuffle) for lane in lanes.values()]
    shuffle(ordered)
    return [lane[turn] for turn in range(max(map(len, ordered), default=0)) for lane in ordered if turn < len(lane)]
