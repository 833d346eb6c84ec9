"""Whatever a job returns comes out of its guest as JSON, without a loss that would surprise."""

import array
import base64
import json
import math
from collections import Counter, OrderedDict, deque, namedtuple
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.jobs import answer
from p2p.jobs.answer import MAX_DEPTH, as_json
from p2p.jobs.faults import MAX_RECORD, JobFault
from tests.support.constants import Shorten
from tests.support.local_jobs import RECORDS

Point = namedtuple("Point", "x y")


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Plot:
    def __str__(self) -> str:
        return "a plot " * 100


def returned(value: object) -> Any:
    """What a program reads that decodes the JSON, as the daemon and the user's own do."""
    text = as_json(value)
    assert msgspec.json.decode(text) == json.loads(text)
    return json.loads(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([None, True, -5, 0.5, "ü\n"], [None, True, -5, 0.5, "ü\n"]),
        ([float("nan"), float("inf"), -float("inf")], ["NaN", "Infinity", "-Infinity"]),
        ([2**100, -(10**3900)], [2**100, -(10**3900)]),
        ([16**5000], ["0x1" + 5000 * "0"]),
        ({"b": 1, "a": {"": 2}}, {"b": 1, "a": {"": 2}}),
        ((1, (2, [3])), [1, [2, [3]]]),
        ({10, 9, 2}, [2, 9, 10]),
        ({frozenset({1}), "b", None}, ["b", [1], None]),
        ({("b", 1), ("a", 2)}, [["a", 2], ["b", 1]]),
        ([b"text \xc3\xbc", bytearray(b"x"), memoryview(b"y")], ["text ü", "x", "y"]),
        (b"\xff\x00", {"base64": "/wA="}),
        ({1: "a", "1": "b"}, [[1, "a"], ["1", "b"]]),
        ({"a": {(1, b"k"): {None}}}, {"a": [[[1, "k"], [None]]]}),
        ({True: 1}, [[True, 1]]),
        ("\udc80", "\\udc80"),
        ({"\udc80": 1, "\\udc80": 2}, [["\\udc80", 1], ["\\udc80", 2]]),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(z=1).keys(), ["z"]),
        ([Point(1, 2), deque([3]), range(2)], [[1, 2], [3], [0, 1]]),
        ([Colour.RED, Level.HIGH], ["red", 3]),
        ([Fraction(1, 3), 1j], ["1/3", "1j"]),
        (array.array("d", [0.5, 1.5]), [0.5, 1.5]),
    ],
)
def test_every_kind_of_value(value: object, expected: object) -> None:
    assert returned(value) == expected
    assert returned([value]) == [expected]


def expected(value: Any) -> Any:
    """The same, said as plainly as it can be."""
    match value:
        case float() if not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(value).decode()}
        case list() | tuple():
            return list(map(expected, value))
        case set():
            return sorted(map(expected, value), key=json.dumps)
        case dict():
            pairs = [[expected(key), expected(held)] for key, held in value.items()]
            texts = all(isinstance(key, str) for key in value) and len({key for key, _ in pairs}) == len(pairs)
            return dict(pairs) if texts else pairs
    return value


def anyhow(value: Any) -> Any:
    """Without the order of arrays, since sets have none of their own."""
    if isinstance(value, list):
        return sorted(map(anyhow, value), key=json.dumps)
    return {key: anyhow(held) for key, held in value.items()} if isinstance(value, dict) else value


@given(RECORDS)
def test_every_record(value: Any) -> None:
    assert json.dumps(anyhow(returned(value))) == json.dumps(anyhow(expected(value)))


@given(st.lists(st.tuples(st.text(), st.integers() | st.floats())))
def test_what_json_knows_is_written_as_json_has_it(value: Any) -> None:
    assert returned(value) == expected(value)


def test_the_order_of_a_set_is_not_that_of_its_hashes() -> None:
    assert len({as_json(set(order)) for order in (["a", 1, b"\xff"], [1, b"\xff", "a"], [b"\xff", "a", 1])}) == 1


def test_what_has_no_form_in_json_is_told_in_a_few_words() -> None:
    assert returned(Plot()).startswith("a plot a plot")
    assert len(returned(Plot())) <= MAX_RECORD


def test_what_was_never_run_is_no_answer() -> None:
    for value in ((n for n in [1]), [map(str, [1])]):
        with pytest.raises(JobFault, match=r"return list\(\.\.\.\) of it"):
            as_json(value)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_bounds(shorten: Shorten) -> None:
    itself: list[Any] = []
    itself.append(itself)
    deep: list[object] = [itself, nested(MAX_DEPTH + 1), {"a": itself, 1: 2}]
    for value in deep:
        with pytest.raises(JobFault, match="nested deeper than 64"):
            as_json(value)
    assert returned(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    shorten(answer, "MAX_BYTES", 10_000)
    many: list[Any] = [0, 0]
    for _ in range(40):
        many = [many, many]
    texts: list[object] = [["x" * 2_000] * 6, [b"x" * 2_000] * 6, "\x00" * 2_000, {"x" * 9_000: 1, "y" * 9_000: 1}]
    numbers: list[object] = [[0] * 2_000, [10**1000] * 20, {(n,) for n in range(2_000)}, many]
    for value in (*texts, *numbers):
        with pytest.raises(JobFault, match="MiB of JSON: return less") as raised:
            as_json(value)
        assert raised.value.kind == "ResultTooLarge"
