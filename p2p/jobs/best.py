"""Selects the best records of a stream, whatever the order of the stream."""

from heapq import heappush, heapreplace
from typing import Any

from p2p.jobs.codec import encode

OPEN = object()
"""Returned by `Best.offer` instead of a key while there is still room for any record."""


class _Ranked:
    """A record that is compared with others by its key.

    Worse records compare as less than better ones; ties are settled by the records' encodings.
    """

    __slots__ = ("code", "key", "lowest", "record")

    def __init__(self, key: Any, record: Any, lowest: bool) -> None:
        self.key, self.record, self.lowest = key, record, lowest
        self.code: bytes | None = None

    def __lt__(self, other: "_Ranked") -> bool:
        if self.key == other.key:
            return self._encoded() > other._encoded()
        return bool(other.key < self.key if self.lowest else self.key < other.key)

    def _encoded(self) -> bytes:
        if self.code is None:
            self.code = encode(self.record)
        return self.code


class Best:
    """Keeps the `amount` offered records with the highest (or lowest) keys."""

    def __init__(self, amount: int, *, lowest: bool) -> None:
        self._amount, self._lowest = amount, lowest
        self._heap: list[_Ranked] = []

    def offer(self, key: Any, record: Any) -> Any:
        """Takes a record if it is good enough. Returns the key that later ones must reach; OPEN while there is room."""
        if key != key:
            raise ValueError("NaN has no place in an order: filter it out first")
        ranked = _Ranked(key, record, self._lowest)
        if len(self._heap) < self._amount:
            heappush(self._heap, ranked)
        elif self._heap[0] < ranked:
            heapreplace(self._heap, ranked)
        return self._heap[0].key if len(self._heap) == self._amount else OPEN

    def records(self) -> list[Any]:
        """The records kept, best first."""
        return [ranked.record for ranked in sorted(self._heap, reverse=True)]
