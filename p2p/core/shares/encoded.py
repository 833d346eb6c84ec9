"""A sequence of msgpack items that stay encoded: each is decoded whenever it is asked for.

A decoded entry of a manifest takes three to five times the memory of an encoded one, and about a microsecond to decode.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import msgspec

Item = TypeVar("Item")
GAP_BYTES = 4
"""The length before each item, which is not decoded again."""


class Encoded(Sequence[Item], Generic[Item]):
    """The items in `stream`, of which item i begins at `starts[i]` and ends `GAP_BYTES` before the next.

    `starts` has one more: where another item would begin. All must have been decoded once without error.
    """

    __slots__ = ("_decode", "_last", "_starts", "_stream")

    def __init__(self, stream: bytearray, starts: "array[int]", decoder: msgspec.msgpack.Decoder[Item]) -> None:
        self._stream = memoryview(stream).toreadonly()
        self._starts = starts
        self._decode = decoder.decode
        self._last: tuple[int | None, Any] = None, None

    @property
    def bytes_held(self) -> int:
        """How much memory the items take."""
        return len(self._stream) + len(self._starts) * self._starts.itemsize

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        last = self._last
        if last[0] == index:
            known: Item = last[1]
            return known
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        starts = self._starts
        count = len(starts) - 1
        at = index if index >= 0 else index + count
        if not 0 <= at < count:
            raise IndexError(index)
        item = self._decode(self._stream[starts[at] : starts[at + 1] - GAP_BYTES])
        self._last = at, item
        return item

    def __iter__(self) -> Iterator[Item]:
        stream, decode, start = self._stream, self._decode, self._starts[0]
        for following in self._starts[1:]:
            yield decode(stream[start : following - GAP_BYTES])
            start = following

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Encoded):
            return bool(self._stream == other._stream)
        if isinstance(other, Sequence):
            return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))
        return NotImplemented

    __hash__: Any = None
