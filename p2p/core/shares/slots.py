"""Upload slots: decides, fairly, which downloaders are served now and which wait.

`round_robin` decides whose turn is next. A slot is held for a quantum of time, and is then given up at the next
chunk boundary if somebody waits, or after `MAX_QUANTA` within a chunk. If those served leave most of the upload limit
unused, because they read slowly or not at all, one more is served.

    out --ask--> granted --leave--> out
    out --ask--> waiting --(a slot falls free)--> granted
                 waiting --leave--> out
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from p2p.round_robin import RoundRobin

Key = TypeVar("Key", bound=Hashable)

MAX_QUANTA = 6.0


class SlotQueue(Generic[Key]):
    """`capacity` slots of `quantum_s` seconds each, and the keys that hold or await one. A key is one connection.

    `most` is how many `widen` may serve at a time. Times are seconds of one monotonic clock.
    """

    def __init__(self, capacity: int, quantum_s: float, most: int = 0) -> None:
        self._capacity = capacity
        self._most = most
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

    def widen(self, now: float) -> list[Key]:
        """Serves one more than `capacity`, since those served do not use what there is. Returns whom, if anybody."""
        if not self._waiting or len(self._granted) >= self._most:
            return []
        key = self._waiting.serve_next()
        self._granted[key] = now
        return [key]

    def must_yield(self, key: Key, now: float, *, within_chunk: bool = False) -> bool:
        """Whether this holder of a slot has used up its time and somebody waits."""
        quanta = MAX_QUANTA if within_chunk else 1.0
        return bool(self._waiting) and now - self._granted[key] >= self._quantum_s * quanta

    def waiting(self) -> list[Key]:
        """The waiting keys in the order in which they would be served."""
        return self._waiting.order()
