"""Which values may be keys, and which partition each key belongs to.

Equal keys must end up in one partition, so whatever determines the partition must be equal for equal keys, on every
machine. `True` and `1` are equal but encoded differently, so a job that uses both as keys is refused. Floats are never
keys: they too can equal integers, and NaN does not even equal itself.
"""

import marshal
from binascii import crc32
from collections.abc import Iterable
from itertools import repeat
from typing import Any

_VERSION = 2
_PLAIN: frozenset[type] = frozenset({str, bytes, int, type(None)})


class BadKey(TypeError):
    """Raised for a value that cannot be a key. The text says what to do about it."""


class Keys:
    """The keys of one table, each checked before it enters the table."""

    def __init__(self, table: dict[Any, Any]) -> None:
        self.table = table
        self.has_bools = False
        """Whether any key is or contains a bool."""
        self._with_bool: dict[Any, object] = {}

    def admit(self, key: object) -> type | None:
        """Checks a key. Returns the type whose keys need no further check, or None if every key needs one.

        Raises BadKey.
        """
        shape = _shape(key)
        if _holds_bool(shape):
            self.has_bools = True
            if self._with_bool.get(key, shape) != shape or (key in self.table and key not in self._with_bool):
                raise BadKey(_MIXED.format(key))
            self._with_bool[key] = shape
            return None
        if self.has_bools and key in self._with_bool:
            raise BadKey(_MIXED.format(key))
        return None if self.has_bools or type(shape) is tuple else type(key)

    def partitions(self, count: int) -> Iterable[int]:
        """Returns the partition of each key, in the table's order, which is the same in every process."""
        keys: Iterable[Any] = map(_plain, self.table) if self.has_bools else self.table
        return [code % count for code in map(crc32, map(marshal.dumps, keys, repeat(_VERSION)))]


_MIXED = "{0!r} is a key both as a bool and as a number, which are equal; map the keys to one type"


def _shape(key: Any) -> Any:
    """Returns the shape of a key: its type, or a tuple of its items' shapes. Raises BadKey."""
    kind = type(key)
    if kind is tuple:
        return tuple(map(_shape, key))
    if kind in _PLAIN or kind is bool:
        return kind
    if isinstance(key, float):
        raise BadKey(f"a float cannot be a key ({key!r}): round it to an int, or make it a str")
    raise BadKey(f"a {kind.__qualname__} cannot be a key: keys are str, bytes, int, bool, None and tuples of these")


def _holds_bool(shape: Any) -> bool:
    return any(map(_holds_bool, shape)) if type(shape) is tuple else shape is bool


def _plain(key: Any) -> Any:
    """Returns the key with each bool replaced by the integer that it equals."""
    if type(key) is tuple:
        return tuple(map(_plain, key))
    return int(key) if type(key) is bool else key
