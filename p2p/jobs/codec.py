"""The records of a job as bytes: which values can be records, and the one encoding of each.

The encoding is `marshal`, version 2, which is quick and, except for sets, deterministic. By itself, `marshal` would
silently turn anything with a buffer (arrays, their scalars) into bytes, and accept types that are not records; here,
both are refused first. The items of a set are written in the order of their encodings, not of their hashes; `marshal`
can read them in any order. A dict keeps its insertion order, which is part of the value. Bytes are decoded only inside
a guest (or by `--local`).
"""

import marshal
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Any

MAX_DEPTH = 64
_VERSION = 2

LEAVES = frozenset({type(None), bool, int, float, str, bytes})
_NESTS = frozenset({tuple, list, dict, set})
_RECORDS = LEAVES | _NESTS
_TAGS: dict[type, bytes] = {tuple: b"(", list: b"[", set: b"<"}


class NotARecord(TypeError):
    """Raised for a value that is not a record, and that no record may contain. The text says what to do about it."""


class Unreadable(Exception):
    """Raised for bytes that no unit of this job can have made: the sender is to blame, not the job."""


def encode(value: object) -> bytes:
    """The bytes of one record. Raises NotARecord."""
    return encode_checked(value, has_sets=survey((value,)))


def plain(value: Any) -> Any:
    """The value with every NamedTuple in it as the tuple that it is; the same object if there is none.

    Decoded records have tuples only, so that a step would get a NamedTuple or a tuple, depending on whether the record
    has passed from unit to unit. Therefore it never gets a NamedTuple.
    """
    return _plain(value, 0) if _has_named((value,)) else value


def admit(value: Any) -> tuple[Any, type | None]:
    """Returns a record as a step gets it, and the type whose values need no such check from then on; None: all do.

    If the first container of a type has no NamedTuple inside, no later one is looked at.
    """
    kind = type(value)
    changed = value if kind in LEAVES else plain(value)
    return changed, kind if changed is value else None


def admit_each(value: Any) -> tuple[Any, type | None]:
    """As `admit`, but looks into every container: for jobs that define NamedTuples."""
    kind = type(value)
    return (value, kind) if kind in LEAVES else (plain(value), None)


def _has_named(values: Collection[object]) -> bool:
    """Whether there is a NamedTuple among these values or inside them. Looks level by level, as `survey` does."""
    nests: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        kinds = set(map(type, _inside(nests)))
        if kinds <= LEAVES:
            return False
        if any(issubclass(kind, tuple) and hasattr(kind, "_fields") for kind in kinds):
            return True
        if not kinds & _NESTS:
            return False
        nests = [value for value in _inside(nests) if type(value) in _NESTS]
    return False


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if depth > MAX_DEPTH or kind in LEAVES:
        return value
    inner = depth + 1
    if kind is tuple or (isinstance(value, tuple) and hasattr(kind, "_fields")):
        return tuple([_plain(item, inner) for item in value])
    if kind is list or kind is set:
        return kind([_plain(item, inner) for item in value])
    if kind is dict:
        return {_plain(key, inner): _plain(held, inner) for key, held in value.items()}
    return value


def encode_checked(value: object, *, has_sets: bool) -> bytes:
    """The bytes of a value that `survey` has seen."""
    return _stable(value) if has_sets else marshal.dumps(value, _VERSION)  # type: ignore[arg-type]


def decode(data: bytes, kind: type = object) -> Any:
    """The record that `encode` was given, types and all. Raises Unreadable for other bytes or another type."""
    try:
        value = marshal.loads(data)
    except (ValueError, EOFError, TypeError) as error:
        raise Unreadable(f"{len(data)} bytes from another unit cannot be read: {error}") from None
    if not isinstance(value, kind):
        raise Unreadable(f"{len(data)} bytes from another unit are a {type(value).__name__}, no {kind.__name__}")
    return value


def survey(values: Collection[object]) -> bool:
    """Checks, level by level, that all values are records. Returns whether any of them is a set. Raises NotARecord."""
    nests: list[Any] = [values if type(values) in (tuple, list) else list(values)]
    has_sets = False
    for _ in range(MAX_DEPTH):
        kinds = set(map(type, _inside(nests)))
        if kinds <= LEAVES:
            return has_sets
        if not kinds <= _RECORDS:
            raise NotARecord(_advice(next(value for value in _inside(nests) if type(value) not in _RECORDS)))
        has_sets = has_sets or set in kinds
        nests = [value for value in _inside(nests) if type(value) in _NESTS]
    raise NotARecord(f"a record nested deeper than {MAX_DEPTH}, or one that holds itself")


def culprit(values: Iterable[object]) -> object:
    """Returns the first value that is not a record."""
    for value in values:
        try:
            survey((value,))
        except NotARecord:
            return value
    return None


def _inside(nests: list[Any]) -> Iterator[object]:
    """Returns the items of these containers; for a dict, its keys, then its values."""
    dicts = [nest.values() for nest in nests if type(nest) is dict]
    return chain(chain.from_iterable(nests), chain.from_iterable(dicts))


def _stable(value: Any) -> bytes:
    kind = type(value)
    if kind in LEAVES:
        return marshal.dumps(value, _VERSION)
    if kind is dict:
        return b"{" + b"".join(_stable(key) + _stable(held) for key, held in value.items()) + b"0"
    items = [_stable(item) for item in value]
    if kind is set:
        items.sort()
    return _TAGS[kind] + len(items).to_bytes(4, "little") + b"".join(items)


def _advice(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} is no record: {_remedy(value)}"


def _remedy(value: object) -> str:
    if hasattr(value, "tolist"):
        return "turn it into numbers and lists with .tolist()"
    if hasattr(value, "__next__"):
        return "a generator runs once, where it is made; make a list of it, or use flat_map"
    for plain in (bool, int, float, str, bytes, tuple, list, dict, set):
        if isinstance(value, plain):
            return f"it only resembles one; make it a plain {plain.__name__}"
    if isinstance(value, (bytearray, memoryview)):
        return "make it plain bytes"
    if isinstance(value, frozenset):
        return "make it a set, or a sorted tuple"
    return "records are None, bool, int, float, str, bytes and tuples, lists, dicts and sets of these"
