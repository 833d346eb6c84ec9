"""Upload slots: who is served now and who waits, fairly.

Waiting peers are served round-robin by network prefix, then by identity, so that neither many addresses in one
network nor many connections of one peer get more than one share of the slots. A slot is held for a quantum of time
and then given up at the next chunk boundary if somebody waits.

    out --ask--> granted --leave--> out
    out --ask--> waiting --(a slot falls free)--> granted
                 waiting --leave--> out
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Slots(Generic[Key]):
    """`capacity` slots of `quantum_s` seconds. A key is one connection; times in seconds of one monotonic clock."""

    def __init__(self, capacity: int, quantum_s: float) -> None:
        self._capacity = capacity
        self._quantum_s = quantum_s
        self._granted: dict[Key, float] = {}
        self._waiting: OrderedDict[str, OrderedDict[bytes, OrderedDict[Key, None]]] = OrderedDict()

    def ask(self, key: Key, prefix: str, identity: bytes, now: float) -> bool:
        """Whether the key has a slot now; else it waits for one."""
        if key in self._granted:
            return True
        if len(self._granted) < self._capacity and not self._waiting:
            self._granted[key] = now
            return True
        self._waiting.setdefault(prefix, OrderedDict()).setdefault(identity, OrderedDict())[key] = None
        return False

    def leave(self, key: Key, now: float) -> list[Key]:
        """Gives up the slot, or the wait for one. Returns the keys that are granted one by it."""
        if self._granted.pop(key, None) is None:
            self._forget(key)
        granted = []
        while self._waiting and len(self._granted) < self._capacity:
            granted.append(self._grant_next(now))
        return granted

    def must_yield(self, key: Key, now: float) -> bool:
        """Whether the holder of a slot has had its quantum and somebody waits."""
        return bool(self._waiting) and now - self._granted[key] >= self._quantum_s

    def waiting(self) -> list[Key]:
        """The waiting keys in the order in which they would be served."""
        lanes = [[list(keys) for keys in identities.values()] for identities in self._waiting.values()]
        order: list[Key] = []
        while lanes:
            for lane in lanes:
                order.append(lane[0].pop(0))
                lane.append(lane.pop(0))
            lanes = [kept for lane in lanes if (kept := [keys for keys in lane if keys])]
        return order

    def _grant_next(self, now: float) -> Key:
        prefix, identities = self._waiting.popitem(last=False)
        identity, keys = identities.popitem(last=False)
        key, _ = keys.popitem(last=False)
        if keys:
            identities[identity] = keys
        if identities:
            self._waiting[prefix] = identities
        self._granted[key] = now
        return key

    def _forget(self, key: Key) -> None:
        for prefix, identities in self._waiting.items():
            for identity, keys in identities.items():
                if key in keys:
                    del keys[key]
                    if not keys:
                        del identities[identity]
                    if not identities:
                        del self._waiting[prefix]
                    return
