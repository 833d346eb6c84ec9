"""What goes to a function and comes back is the same value, of the same types; anything else is refused."""

import enum
import json
import math
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.client.values import MAX_DEPTH, Unreadable, Untransferable, decode, encode

KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=3,
)
VALUES = st.recursive(
    KEYS | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.sets(KEYS, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["int", "float", "bytes", "tuple", "set", "frozenset", "dict", "x"]), inner)
    ),
    max_leaves=10,
)


class Pair(NamedTuple):
    left: int


class Colour(enum.IntEnum):
    RED = 1


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, and of equal types."""
    if type(one) is not type(other):
        return False
    match one:
        case float():
            return math.copysign(1, one) == math.copysign(1, other) and (one == other or math.isnan(one + other))
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return same(list(one.items()), list(other.items()))
        case set() | frozenset():
            # A zero's sign and type may differ among equal items.
            return bool(one == other)
    return bool(one == other)


@settings(max_examples=40)
@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    text = encode(value)
    assert text.isascii()
    assert "\n" not in text
    assert same(decode(text), value)


@pytest.mark.parametrize(
    "value", [1 << 20_000, -(1 << 20_000), "\ud800", math.nan, -0.0, {}, set(), (), {(): {frozenset()}}], ids=type
)
def test_odd_values_come_back_as_they_were(value: Any) -> None:
    back = decode(encode(value))
    assert same(back, value) or (math.isnan(value) and math.isnan(back))


@given(JSON)
def test_any_json_is_a_value_or_unreadable(value: Any) -> None:
    try:
        found = decode(json.dumps(value))
    except Unreadable:
        return
    assert same(decode(encode(found)), found) or "NaN" in json.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"set":[[1]]}',
        '{"dict":[[{"dict":[]},1]]}',
        '{"bytes":"%"}',
        '{"float":"1"}',
        '{"int":1,"float":1}',
        "{}",
        "NaN",
        "",
        "[" * 100_000,
        "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
        '{"tuple":"abc"}',
        '{"object":"x"}',
    ],
)
def test_what_no_value_has_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable, match="is no value"):
        decode(text)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Pair(1), "Pair"),
        (Colour.RED, "Colour"),
        (OrderedDict(), "collections.OrderedDict"),
        (bytearray(b"x"), "bytearray"),
        (1j, "complex"),
        ([object()], "object"),
        (range(3), "range"),
    ],
)
def test_other_types_are_refused_by_name(value: object, name: str) -> None:
    with pytest.raises(Untransferable, match=f"{name} does not travel"):
        encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Untransferable, match="holds itself"):
        encode(value)
