"""The values that go to a function at volunteers and come back from it, as one line of text: what goes in comes out.

It is JSON in which lists, texts, true, false, null, finite floats and integers stand for themselves, and everything
else is an object of one key, its kind. Nothing is ever a pickle, and a line that no value has is refused, as anybody
may have made it. This file goes along with the job, so it imports only the standard library, and `arrays` if there are
some.
"""

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any

MAX_DEPTH = 64
MAX_DIGITS = 4000
"""The longest integer in decimal digits: Python reads no longer ones from text."""
PACKAGES = frozenset({"numpy", "pandas"})
"""Their types are those of `arrays`."""
ARRAYS = "shoal_arrays"
"""The name of `arrays` in a job."""
_OF_ARRAYS = ("npy", "scalar", "series", "frame")
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Untransferable(TypeError):
    """A value of a type that does not arrive as it was."""


class Unreadable(ValueError):
    """A text that is no value."""


def encode(value: object) -> str:
    """The text of a value, in ASCII, on one line. Raises Untransferable."""
    return json.dumps(_encoded(value, 0), separators=(",", ":"), allow_nan=False)


def decode(text: str) -> Any:
    """The value of a text. Raises Unreadable."""
    try:
        return _decoded(json.loads(text, parse_constant=_refuse), 0)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RecursionError) as error:
        raise Unreadable(f"{text[:60]!r} is no value: {error}") from None


def has_arrays(text: str) -> bool:
    """Whether there are arrays or tables in the value of this text."""
    return any(f'{{"{kind}":' in text for kind in _OF_ARRAYS)


def _encoded(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise Untransferable(f"a value is nested deeper than {MAX_DEPTH}, or holds itself")
    inner, kind = depth + 1, type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if value.bit_length() < 3 * MAX_DIGITS else {"int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is bytes:
        return {"bytes": b64encode(value).decode("ascii")}
    if kind is list:
        return [_encoded(one, inner) for one in value]
    if kind is tuple or kind is set or kind is frozenset:
        return {kind.__name__: [_encoded(one, inner) for one in value]}
    if kind is dict:
        return {"dict": [[_encoded(key, inner), _encoded(held, inner)] for key, held in value.items()]}
    why = ""
    if kind.__module__.partition(".")[0] in PACKAGES:
        encoded = partial(_encoded, depth=inner)
        found = _arrays().encode(value, encoded)
        if found is not None:
            return found
        why = _arrays().hindrance(value, encoded)
    full = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise Untransferable(
        f"{full} does not travel, or not with this in it{why}. What does: None, bool, int, float, str, bytes, tuple, "
        "list, dict, set and frozenset; arrays of numbers, texts and times; tables of these"
    )


def _decoded(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deep")
    if isinstance(value, list):
        return [_decoded(one, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind in _OF_ARRAYS:
        return _arrays().decode(kind, held, partial(_decoded, depth=depth + 1))
    return _KINDS[kind](held, depth + 1)


def _items(kind: Callable[[Iterable[Any]], Any]) -> Callable[[Any, int], Any]:
    def decoded(held: Any, depth: int) -> Any:
        if not isinstance(held, list):
            raise TypeError("these are no items")
        return kind([_decoded(one, depth) for one in held])

    return decoded


def _pairs(held: Any, depth: int) -> Any:
    return {_decoded(key, depth): _decoded(one, depth) for key, one in held}


_KINDS: dict[str, Callable[[Any, int], Any]] = {
    "int": lambda held, depth: int(str(held), 16),
    "float": lambda held, depth: _NUMBERS[held],
    "bytes": lambda held, depth: b64decode(held, validate=True),
    "tuple": _items(tuple),
    "set": _items(set),
    "frozenset": _items(frozenset),
    "dict": _pairs,
}


def _arrays() -> Any:
    """The module for arrays, which needs numpy: beside this one, in the package or in the job."""
    return import_module(f"{__package__}.arrays" if __package__ else ARRAYS)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number in JSON")
