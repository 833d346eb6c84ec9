"""A record is the same for every step, whether the step before ran in the same unit or not, with `--local` and not."""

import json

import pytest

from p2p.jobs.codec import NotARecord, encode, plain
from tests.support.guest_process import carry_out
from tests.support.local_jobs import HEAD, fault, run

TOP = """
import enum
from collections import namedtuple
from dataclasses import dataclass
from typing import NamedTuple
class Point(NamedTuple):
    x: int
    y: int = 0
Old = namedtuple("Old", "a b")
@dataclass
class Data:
    x: int
class Text(str): pass
class Level(enum.IntEnum):
    LOW = 1
def shape(value):
    if isinstance(value, (tuple, list, set)):
        return type(value).__name__ + "(" + ",".join(map(shape, value)) + ")"
    return type(value).__name__
"""
STEPS = {
    "map": ".map(lambda x: Point(x))",
    "namedtuple": ".map(lambda x: Old(x, 'a'))",
    "flat_map": ".flat_map(lambda x: [Point(x)])",
    "map_partitions": ".map_partitions(lambda xs: (Point(x) for x in xs))",
    "filter between": ".map(lambda x: Point(x)).filter(lambda p: type(p) is tuple)",
    "inside": ".map(lambda x: ('k', [Point(x)]))",
    "inside later": ".map(lambda x: ('k', [Point(x)] if x > 5 else []))",
    "a value": ".map(lambda x: {'p': Point(x)}).map(lambda d: d['p'])",
    "key_by": ".key_by(lambda x: Point(x))",
    "urlparse": ".map(lambda x: __import__('urllib.parse').parse.urlparse('http://a/b'))",
}


def shapes(steps: str, between: str) -> tuple[object, object]:
    """What a step sees, in this process and in a guest."""
    text = f"{TOP}def job(inputs):\n    return (inputs.range(9){steps}{between}\n        .map(shape).collect())\n"
    answer, _ = carry_out({"job.py": HEAD + text})
    return json.loads(run(text).answer.json), answer.get("value")


@pytest.mark.parametrize("name", STEPS)
def test_named_tuples_are_tuples_for_the_next_step(name: str) -> None:
    shuffled = ".map(lambda r: (str(r), r)).reduce_by_key(lambda a, b: a).map(lambda pair: pair[1])"
    text = f"{TOP}def job(inputs):\n    return (inputs.range(9){STEPS[name]}%s\n        .map(shape).collect())\n"
    fused, apart = (json.loads(run(text % between).answer.json) for between in ("", shuffled))
    assert sorted(set(fused)) == sorted(set(apart))
    assert not any("Point" in one or "Old" in one or "Parse" in one for one in fused)


@pytest.mark.parametrize("before", [STEPS["map_partitions"], STEPS["map"], STEPS["map_partitions"] + ".sample(1)"])
def test_map_partitions_gets_tuples_too_right_after_another(before: str) -> None:
    steps = f"{before}.map_partitions(lambda xs: [shape(x) for x in xs])"
    text = f"{TOP}def job(inputs):\n    return set(inputs.range(9){steps}.collect())\n"
    assert json.loads(run(text).answer.json) == ["tuple(int,int)"]


def test_a_guest_sees_what_this_process_sees() -> None:
    here, there = shapes(STEPS["map"] + ".map(lambda p: (p, p)).key_by(lambda r: Point(1, 2))", "")
    assert here == there
    assert here == ["tuple(tuple(int,int),tuple(tuple(int,int),tuple(int,int)))"] * 9


@pytest.mark.parametrize(
    "end",
    [
        ".collect()",
        ".top(2)",
        ".reduce(lambda a, b: Point(a[0] + b[0]))",
        ".map(lambda p: (p, p)).reduce_by_key(lambda a, b: Point(a[0], b[0])).collect()",
        ".map(lambda p: ('k', p)).reduce_by_key(lambda a, b: Point(a[0], shape(b) == 'tuple(int,int)')).collect()",
    ],
)
@pytest.mark.parametrize("partitions", [1, 4])
def test_actions_and_keys_take_named_tuples(end: str, partitions: int) -> None:
    text = f"{TOP}def job(inputs):\n    return shape(inputs.range(9).map(lambda x: Point(x)){end})\n"
    assert "Point" not in run(text, partitions=partitions).answer.json


def test_params_may_be_named_tuples() -> None:
    text = f"{TOP}def job(inputs):\n    return inputs.params([Point(1), Old(1, 2)]).map(shape).collect()\n"
    assert json.loads(run(text).answer.json) == ["tuple(int,int)", "tuple(int,int)"]


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("Data(x)", "Data is no record"),
        ("Text('a')", "make it a plain str"),
        ("Level.LOW", "make it a plain int"),
        ("bytearray(b'a')", "make it plain bytes"),
        ("frozenset([x])", "make it a set"),
        ("Point(Data(x))", "Data is no record"),
        ("Old(Level.LOW, x)", "make it a plain int"),
    ],
)
def test_what_only_resembles_a_record_is_refused_with_words(value: str, advice: str) -> None:
    for end in (".collect()", ".map(lambda r: ('k', r)).reduce_by_key(lambda a, b: a).collect()"):
        told = fault(f"{TOP}def job(inputs):\n    return inputs.range(3).map(lambda x: {value}){end}\n")
        assert told.kind == "NotARecord"
        assert advice in told.text


def test_bools_stay_bools() -> None:
    steps = ".map(lambda x: (x, x > 0)).reduce_by_key(max).map(shape).take(1)"
    text = f"{TOP}def job(inputs):\n    return inputs.range(3){steps}\n"
    assert json.loads(run(text).answer.json) == ["tuple(int,bool)"]


def test_plain_leaves_everything_else_as_it_is() -> None:
    value = [(1, {"a": {2}}), object()]
    assert plain(value) is value
    holds_itself: list[object] = []
    holds_itself.append(holds_itself)
    assert plain(holds_itself) is holds_itself
    with pytest.raises(NotARecord):
        encode(holds_itself)
