"""How many places each network holds, nested, and which network holds most, at once.

A network in another counts in both: of two, the one whose outer network holds more is more crowded; if these hold the
same number, the inner ones decide.
"""

from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

Networks = tuple[Hashable, ...]
"""The networks of a host, each in the one before."""


class _Lone(Generic[K]):
    """The only key of a network, as most networks have, with the networks inside that it is of."""

    __slots__ = ("inside", "key")
    size = 1

    def __init__(self, key: K, inside: Networks) -> None:
        self.key = key
        self.inside = inside

    def sizes(self, networks: Networks) -> tuple[int, ...]:
        return tuple(int(self.inside[: depth + 1] == networks[: depth + 1]) for depth in range(len(networks)))

    def most_crowded(self, within: Networks) -> Networks:
        return self.inside if self.inside[: len(within)] == within else ()

    def oldest_of_most_crowded(self) -> K:
        return self.key

    def last(self, networks: Networks, most: int) -> list[K]:
        return [self.key][:most] if self.inside == networks else []


class Crowd(Generic[K]):
    """Keys by their networks. All operations take the same short time, however many keys there are."""

    __slots__ = ("_by_size", "_inner", "_keys", "_largest", "size")

    def __init__(self) -> None:
        self.size = 0
        self._keys: dict[K, None] = {}
        self._inner: dict[Hashable, Crowd[K] | _Lone[K]] = {}
        self._by_size: dict[int, dict[Hashable, None]] = {}
        """The names of the networks that hold this many, from 2 to the most, without gaps at the upper end."""
        self._largest = 0
        """How many the largest network holds, if any holds more than one."""

    def __len__(self) -> int:
        return self.size

    def add(self, key: K, networks: Networks) -> None:
        self.size += 1
        if not networks:
            self._keys[key] = None
            return
        name, inside = networks[0], networks[1:]
        inner = self._inner.get(name)
        if inner is None:
            inner = self._inner[name] = _Lone(key, inside)
        else:
            if isinstance(inner, _Lone):
                lone, inner = inner, Crowd()
                self._inner[name] = inner
                inner.add(lone.key, lone.inside)
            inner.add(key, inside)
        self._rank(name, inner.size - 1, inner.size)

    def remove(self, key: K, networks: Networks) -> None:
        self.size -= 1
        if not networks:
            del self._keys[key]
            return
        name = networks[0]
        inner = self._inner[name]
        left = inner.size - 1
        if left:
            assert isinstance(inner, Crowd)
            inner.remove(key, networks[1:])
        else:
            del self._inner[name]
        self._rank(name, left + 1, left)

    def sizes(self, networks: Networks) -> tuple[int, ...]:
        """How many keys each of these networks holds."""
        inner = self._inner.get(networks[0]) if networks else None
        return (0,) * len(networks) if inner is None else (inner.size, *inner.sizes(networks[1:]))

    def most_crowded(self, within: Networks = ()) -> Networks:
        """The widest network that holds most, and so on inwards; none if there is no key. Of equals, the last.

        Looks only at what is `within` these networks, which come first in the answer.
        """
        if not self._inner or (within and within[0] not in self._inner):
            return ()
        name = within[0] if within else next(reversed(self._by_size.get(self._largest, self._inner)))
        return (name, *self._inner[name].most_crowded(within[1:]))

    def oldest_of_most_crowded(self) -> K:
        """The key that came first to the host in the network that holds most. Of equal networks, the one that has held
        as much for longest.
        """
        if not self._inner:
            return next(iter(self._keys))
        return self._inner[next(iter(self._by_size.get(self._largest, self._inner)))].oldest_of_most_crowded()

    def outdone(self, newcomer: K, networks: Networks, within: Networks = ()) -> Networks:
        """The network that holds most, if that is more than the newcomer's would hold with it; otherwise none.

        A newcomer of no network is alone in its own.
        """
        before = self.most_crowded(within)
        self.add(newcomer, networks)
        own = self.sizes(networks) or (1,)
        # With the newcomer, its own network may hold most; if another outer one holds as much, its inner ones count.
        found = (self.most_crowded(within), before)
        more = [crowded for crowded in found if self.sizes(crowded)[: len(own)] > own]
        self.remove(newcomer, networks)
        return more[0] if more else ()

    def last(self, networks: Networks, most: int) -> list[K]:
        """The keys that came last to the innermost of these networks, at most this many."""
        if networks:
            return self._inner[networks[0]].last(networks[1:], most) if networks[0] in self._inner else []
        return list(islice(reversed(self._keys), most))

    def _rank(self, name: Hashable, before: int, now: int) -> None:
        if before > 1:
            del self._by_size[before][name]
            if not self._by_size[before]:
                del self._by_size[before]
        if now > 1:
            self._by_size.setdefault(now, {})[name] = None
        elif now and before:
            self._inner[name] = self._inner.pop(name)  # those that hold one are in this order
        # Sizes change by one: whoever was alone with the largest is still there, one above or below.
        if now > self._largest or (before == self._largest and before not in self._by_size):
            self._largest = now
