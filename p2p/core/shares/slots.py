"""Upload slots: decides, fairly, which downloaders are served now and which wait.

`core.round_robin` decides whose turn is next. A slot is held for a quantum of time, and is then given up at the next
chunk boundary if somebody waits.

    out --ask--> granted --leave--> out
    out --ask--> waiting --(a slot falls free)--> granted
                 waiting --leave--> out
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from p2p.core.round_robin import RoundRobin

Key = TypeVar("Key", bound=Hashable)


class SlotQueue(Generic[Key]):
    """`capacity` slots of `quantum_s` seconds each, and the keys that hold or await one. A key is one connection.

    Times are seconds of one monotonic clock.
    """

    def __init__(self, capacity: int, quantum_s: float) -> None:
        self._capacity = capacity
        self._quantum_s = quantum_s
        self._granted: dict[Key, float] = {}
        self._waiting: RoundRobin[Key] = RoundRobin()

    def ask(self, key: Key, prefix: str, identity: bytes, now: float) -> bool:
        """Asks for a slot. Returns whether the key has one now; otherwise it waits for one."""
        if key in self._granted:
            return True
        if len(self._granted) < self._capacity and not self._waiting:
            self._granted[key] = now
            return True
        self._waiting.add(key, prefix, identity)
        return False

    def leave(self, key: Key, now: float) -> list[Key]:
        """Ends the key's hold of, or wait for, a slot. Returns the keys that get a slot because of this."""
        if self._granted.pop(key, None) is None:
            self._waiting.drop(key)
        granted = []
        while self._waiting and len(self._granted) < self._capacity:
            granted.append(self._waiting.serve_next())
            self._granted[granted[-1]] = now
        return granted

    def must_yield(self, key: Key, now: float) -> bool:
        """Whether this holder of a slot has used up its quantum and somebody waits."""
        return bool(self._waiting) and now - self._granted[key] >= self._quantum_s

    def waiting(self) -> list[Key]:
        """The waiting keys in the order in which they would be served."""
        return self._waiting.order()
