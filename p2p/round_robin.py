"""Decides who of those waiting is next: round-robin by network prefix, then by identity.

So neither many addresses in one network nor many connections of one peer gain extra turns. Among equals, the first to
come is served first.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


def in_turns(lists: Sequence[Sequence[T]]) -> Iterator[T]:
    """The first of each list, then the second of each, and so on."""
    for turn in range(max(map(len, lists), default=0)):
        yield from (one[turn] for one in lists if turn < len(one))


class RoundRobin(Generic[Key]):
    """The keys that wait for their turns, each with an identity (such as a peer id) and a network prefix."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, OrderedDict[Hashable, OrderedDict[Key, None]]] = OrderedDict()
        self._lane_of: dict[Key, tuple[Hashable, Hashable]] = {}

    def __len__(self) -> int:
        return len(self._lane_of)

    def add(self, key: Key, prefix: Hashable, identity: Hashable) -> None:
        """Adds the key to those that wait, unless it already waits."""
        self._lane_of[key] = prefix, identity
        self._lanes.setdefault(prefix, OrderedDict()).setdefault(identity, OrderedDict())[key] = None

    def drop(self, key: Key) -> None:
        """Removes the key from those that wait, if it did; the others keep their places."""
        if key in self._lane_of:
            self._remove(key)

    def serve(self, key: Key) -> None:
        """Records the key's turn: others of its identity, and of its prefix, now come after everybody else."""
        prefix, identity = self._remove(key)
        if prefix in self._lanes:
            if identity in self._lanes[prefix]:
                self._lanes[prefix].move_to_end(identity)
            self._lanes.move_to_end(prefix)

    def serve_next(self) -> Key:
        """Serves the first key in the order, and returns it. Raises KeyError if nobody waits."""
        if not self._lanes:
            raise KeyError("nobody waits")
        keys = next(iter(next(iter(self._lanes.values())).values()))
        key = next(iter(keys))
        self.serve(key)
        return key

    def has(self, prefix: Hashable) -> bool:
        """Whether anybody of this network prefix waits."""
        return prefix in self._lanes

    def heads(self) -> list[Key]:
        """The first key of each network prefix, in the order in which they would be served."""
        return [next(iter(next(iter(identities.values())))) for identities in self._lanes.values()]

    def order(self) -> list[Key]:
        """All waiting keys, in the order in which they would be served."""
        lanes = [[list(keys) for keys in identities.values()] for identities in self._lanes.values()]
        order: list[Key] = []
        while lanes:
            for lane in lanes:
                order.append(lane[0].pop(0))
                lane.append(lane.pop(0))
            lanes = [kept for lane in lanes if (kept := [keys for keys in lane if keys])]
        return order

    def _remove(self, key: Key) -> tuple[Hashable, Hashable]:
        prefix, identity = self._lane_of.pop(key)
        identities = self._lanes[prefix]
        del identities[identity][key]
        if not identities[identity]:
            del identities[identity]
        if not identities:
            del self._lanes[prefix]
        return prefix, identity
