"""Writes what leaves a job as text: saved records as lines, and what the job returned as JSON.

The job's own records, in their binary encoding, are decoded only inside a guest (or by `--local`).

None, True, 5, 0.5, "text"        as they are
NaN, infinities                   the texts NaN, Infinity, -Infinity
bytes                             as text if they are UTF-8, else {"base64": "..."}
tuples, lists, other sequences    arrays
sets                              arrays, sorted (by JSON text, if the items cannot be compared)
dicts                             objects if all keys are text, else arrays of pairs
objects with .tolist() (numpy)    the result of .tolist()
anything else                     the result of str()
"""

import json
from binascii import b2a_base64
from collections.abc import Collection, Mapping, Sequence, Set
from itertools import chain
from math import isfinite
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import Any

from p2p.jobs.dataset import NO_ACTION, Dataset
from p2p.jobs.faults import MAX_RECORD, JobFault, bounded

MAX_DEPTH = 64
MAX_BYTES = 32 * 1024 * 1024
"""The longest JSON text.

Also bounds the values that are looked at: each counts as 8 bytes, a text also counts its length.
"""
_VALUE = 8
_NESTS = frozenset({tuple, list, dict})
_WRITABLE = _NESTS | {type(None), bool, int, float, str}
_BITS = 13_000
"""Python can read an integer back from decimal text if it has fewer bits than this."""


def text_line(record: object, form: str) -> str:
    """Returns the line of a record, including its end.

    Raises TypeError or ValueError for what the form cannot express.
    """
    if form == "json":
        try:
            return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        except TypeError as error:
            raise TypeError(f"{error}: save() writes JSON lines; map the records to values that JSON has") from None
    if type(record) is not str:
        raise TypeError(
            f"save('text') writes str, not {type(record).__name__}: map(str) first, or save() as JSON lines"
        )
    return record + "\n"


def as_json(value: object) -> str:
    """The JSON text of a value. Raises JobFault for a value that is too large, and whatever its own methods raise."""
    text = _at_once(value) if _is_writable(value) else None
    if text is None:
        text = json.dumps(_Plain().of(value, 0), ensure_ascii=False, allow_nan=False)
    if len(text) > MAX_BYTES // 4 and len(text.encode()) > MAX_BYTES:
        raise _too_large()
    return text


def _is_writable(value: object) -> bool:
    """Whether `json` knows the types of all values inside, as in most results. Checks level by level."""
    level: list[Any] = [value]
    size = 0
    for _ in range(MAX_DEPTH):
        if not set(map(type, level)) <= _WRITABLE:
            return False
        nests = [value for value in level if type(value) in _NESTS]
        size += _VALUE * len(level)
        if size + _VALUE * sum(map(len, nests)) > MAX_BYTES:
            return False  # `_Plain` counts again, and refuses it
        keys = list(chain.from_iterable(nest for nest in nests if type(nest) is dict))
        if any(type(key) is not str for key in keys):
            return False
        size += sum(len(text) for text in chain(level, keys) if type(text) is str)
        size += sum(number.bit_length() for number in level if type(number) is int) // 4
        if size > MAX_BYTES:
            return False
        level = list(chain.from_iterable(nest.values() if type(nest) is dict else nest for nest in nests))
        if not level:
            return True
    return False


def _at_once(value: object) -> str | None:
    """Returns the JSON text, or None if JSON cannot express one of the numbers or texts."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return None
    return text


class _Plain:
    """Converts values so that `json` can write them without loss. Counts the values that it looks at."""

    def __init__(self) -> None:
        self._left = MAX_BYTES

    def of(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise JobFault(f"job() returned a value nested deeper than {MAX_DEPTH}, or one that holds itself")
        inner = depth + 1
        match value:
            case None | bool():
                self._spend(0)
                return value
            case int():
                self._spend(value.bit_length() // 4)
                return int(value) if value.bit_length() < _BITS else hex(value)
            case float():
                self._spend(0)
                return float(value) if isfinite(value) else _NOT_FINITE[str(float(value))]
            case str():
                self._spend(len(value))
                return value.encode("utf-8", "backslashreplace").decode()
            case bytes() | bytearray() | memoryview():
                return self._of_bytes(bytes(value))
            case Mapping():
                return self._of_mapping(value, inner)
            case tuple() | list():
                return self._all(value, inner)
            case Set():
                return _in_order(self._all(value, inner))
            case Sequence():
                return self._all(value, inner)
        if hasattr(value, "__await__") or hasattr(value, "__anext__"):
            if isinstance(value, CoroutineType):
                value.close()  # or Python warns that nobody has run it
            raise JobFault("job() returned something that was never awaited: write it without async and await")
        if isinstance(value, Dataset):
            raise JobFault(NO_ACTION)
        if isinstance(value, FunctionType | MethodType | BuiltinFunctionType):
            raise JobFault(f"job() returned the function {value.__name__} and not its result: call it, with ()")
        if hasattr(value, "__next__"):
            raise JobFault(f"job() returned a {type(value).__name__}, which has not been run: return list(...) of it")
        if hasattr(value, "tolist"):
            return self.of(value.tolist(), inner)
        return self.of(bounded(str(value), MAX_RECORD), inner)

    def _all(self, values: Collection[Any], depth: int) -> list[Any]:
        self._spend(0)
        return [self.of(value, depth) for value in values]

    def _of_bytes(self, value: bytes) -> Any:
        self._spend(len(value))
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": b2a_base64(value, newline=False).decode("ascii")}

    def _of_mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        self._spend(0)
        pairs = [[self.of(key, depth), self.of(held, depth)] for key, held in value.items()]
        found = dict(pairs) if all(isinstance(key, str) for key in value) else {}
        return found if len(found) == len(pairs) else pairs

    def _spend(self, size: int) -> None:
        self._left -= _VALUE + size
        if self._left < 0:
            raise _too_large()


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _in_order(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:  # keys of several types
        return sorted(items, key=json.dumps)


def _too_large() -> JobFault:
    return JobFault(
        f"job() returned more than {MAX_BYTES >> 20} MiB of JSON: return less, or use save()", kind="ResultTooLarge"
    )
