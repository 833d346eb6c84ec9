import array
import collections
import marshal
import math
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.jobs.codec import MAX_DEPTH, NotARecord, decode, encode, survey
from tests.support.local_jobs import HASHABLE, RECORDS


def typed(value: Any) -> Any:
    """A form in which equal means equal with the same types, and NaN equals itself."""
    match value:
        case float():
            return "float", "nan" if math.isnan(value) else value.hex()
        case dict():
            return "dict", [(typed(key), typed(held)) for key, held in value.items()]
        case set():
            return "set", sorted(map(repr, map(typed, value)))
        case list() | tuple():
            return type(value).__name__, [typed(item) for item in value]
        case _:
            return type(value).__name__, value


@given(RECORDS)
def test_a_record_comes_back_with_its_types(record: Any) -> None:
    assert typed(decode(encode(record))) == typed(record)


@given(RECORDS)
def test_what_comes_back_has_the_same_bytes(record: Any) -> None:
    assert encode(decode(encode(record))) == encode(record)


@given(st.lists(HASHABLE, max_size=8, unique_by=repr), st.randoms(use_true_random=False))
def test_sets_are_encoded_alike_in_whatever_order_they_grew(items: list[Any], shuffler: Any) -> None:
    first = set(items)
    kept = list(first)
    shuffler.shuffle(kept)
    assert encode([first, {"in": first}]) == encode([set(kept), {"in": set(kept)}])


def test_a_dict_keeps_its_order() -> None:
    assert list(decode(encode({"b": 1, "a": {3, 1, 2}}))) == ["b", "a"]


class Subclass(str):
    pass


class Number(float):
    tolist = None


def _generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (array.array("d", [1.0]), "tolist"),
        (bytearray(b"x"), "plain bytes"),
        (memoryview(b"x"), "tolist"),
        (frozenset({1}), "make it a set"),
        (1j, "records are"),
        (..., "records are"),
        (StopIteration, "records are"),
        (_generator(), "generator"),
        (_generator.__code__, "records are"),
        (Subclass("a"), "plain str"),
        (Number(1), "tolist"),
        (collections.Counter("a"), "plain dict"),
        (time.gmtime(0), "plain tuple"),
        (types.SimpleNamespace(), "records are"),
        (map(str, [1]), "generator"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {1: (v,)}], ids=["bare", "list", "dict"])
def test_what_is_no_record_is_refused_with_advice(value: Any, advice: str, wrap: Any) -> None:
    with pytest.raises(NotARecord, match=advice):
        encode(wrap(value))


def test_what_holds_itself_and_what_is_too_deep_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(NotARecord, match="deeper"):
            encode(value)


def test_plain_values_take_the_quick_way_and_are_the_same_bytes() -> None:
    value = {"a": [1, (2.5, None, True)], b"b": "ü" * 300, 7: 2**70}
    assert not survey([value])
    assert encode(value) == marshal.dumps(value, 2)
    assert encode([value, {1}]) == b"[" + (2).to_bytes(4, "little") + marshal.dumps(value, 2) + marshal.dumps({1}, 2)
