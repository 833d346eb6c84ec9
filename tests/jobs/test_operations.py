"""Jobs against plain Python over the same data, however it is cut."""

import json
import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.local_jobs import COUNT_WORDS, expression, run

WORDS = st.lists(st.sampled_from(["a", "b", "cc", "dd", "the", "The", "ü", "☃"]), max_size=8).map(" ".join)
ENDS = st.sampled_from(["\n", "\r\n"])
TEXTS = st.lists(st.tuples(WORDS, ENDS).map("".join), max_size=30).map("".join)
CUTS = st.integers(1, 80)
NUMBERS = st.lists(st.integers(-100, 100), max_size=40)


def plain_lines(text: bytes) -> list[str]:
    lines = text.decode("utf-8", "replace").split("\n")
    return [line.removesuffix("\r") for line in lines[:-1]] + lines[-1:] * bool(lines[-1])


@settings(max_examples=30)
@given(TEXTS, TEXTS, CUTS, st.integers(1, 7), st.booleans())
def test_word_count(first: str, second: str, cut: int, reducers: int, newline_at_end: bool) -> None:
    texts = [(text if newline_at_end else text.rstrip()).encode() for text in (first, second)]
    counts = Counter(word.lower() for text in texts for word in text.decode().split())
    outcome = run(COUNT_WORDS, {"a.txt": texts[0], "b.txt": texts[1]}, partition_bytes=cut, reduce_partitions=reducers)
    everything, top, many = json.loads(outcome.answer.json or "")
    assert everything == sorted(map(list, counts.items()))
    assert many == len(counts)
    assert [n for _, n in top] == [n for _, n in counts.most_common(3)]
    by_whole = run(COUNT_WORDS, {"a.txt": texts[0], "b.txt": texts[1]}, partition_bytes=10**6, reduce_partitions=1)
    assert json.loads(by_whole.answer.json or "")[1] == top, "ties fall alike, however the input is cut"


@settings(max_examples=15)
@given(st.lists(st.sampled_from([b"", b"\r", b"a b", b"\xff\x80\xfe", b"x" * 120, b"\xe2\x98"]), max_size=12), CUTS)
@example([b"a", b""], 1)
@example([b""], 1)
@example([b"one giant line " * 40], 3)
@example([b"\r", b"\r\r", b"a\r"], 1)
def test_lines_of_any_bytes_cut_anywhere(parts: list[bytes], cut: int) -> None:
    for joint in (b"\n", b"\r\n"):
        text = joint.join(parts)
        files = {"d/1": text, "d/2": b"", "d/3": text + joint}
        found = expression("inputs.lines().collect()", files, partition_bytes=cut)
        assert found == plain_lines(text) + plain_lines(text + joint)
        assert expression("inputs.lines().count()", files, partition_bytes=cut) == len(found)
        chunks = expression("inputs.chunks().collect()", files, partition_bytes=cut)
        assert b"".join(chunks) == text + text + joint
        assert sum(not chunk.endswith(b"\n") for chunk in chunks) == (bool(text) and not text.endswith(b"\n"))


def test_a_large_input_is_read_in_batches() -> None:
    text = "".join(f"line {n}\n" for n in range(250_000)).encode()
    assert expression("inputs.lines().map(len).sum()", {"a": text}, partition_bytes=10**7) == len(text) - 250_000


@settings(max_examples=15)
@given(NUMBERS, st.integers(1, 12), st.integers(1, 5))
def test_operations_and_actions_on_numbers(numbers: list[int], partitions: int, amount: int) -> None:
    def of(code: str) -> Any:
        code = code.replace("data", "inputs.params(args['numbers'])")
        return expression(code, numbers=numbers, partitions=partitions)

    assert of("data.map(lambda x: x * 2).filter(lambda x: x > 3).collect()") == [x * 2 for x in numbers if x * 2 > 3]
    assert of("data.flat_map(lambda x: range(x % 3)).collect()") == [y for x in numbers for y in range(x % 3)]
    assert of("data.key_by(abs).collect()") == [(abs(x), x) for x in numbers]
    assert sum(of("data.map_partitions(lambda xs: [sum(xs)]).collect()")) == sum(numbers)
    assert of("data.map(str).map_partitions(iter).map_partitions(sorted).filter(len).count()") == len(numbers)
    assert (of("data.count()"), of("data.sum()")) == (len(numbers), sum(numbers))
    assert of(f"data.take({amount})") == numbers[:amount]
    assert of(f"data.top({amount})") == sorted(numbers, reverse=True)[:amount]
    by_last = of(f"data.top({amount}, key=lambda x: x % 10)")
    assert [x % 10 for x in by_last] == sorted((x % 10 for x in numbers), reverse=True)[:amount]
    totals: Counter[int] = Counter()
    for x in numbers:
        totals[x % 3] += x
    mixed = of("data.map(lambda x: (x % 3, x)).reduce_by_key(lambda a, b: a + b).map(lambda p: p[::-1]).collect()")
    assert sorted(mixed) == sorted((total, key) for key, total in totals.items())
    if numbers:
        assert of("(data.min(), data.max(), data.mean())") == (min(numbers), max(numbers), sum(numbers) / len(numbers))
        assert of("data.map(str).reduce(lambda a, b: a + b)") == "".join(map(str, numbers))
        assert abs(of("data.min(key=abs)")) == min(map(abs, numbers))
        assert abs(of("data.max(key=abs)")) == max(map(abs, numbers))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=16), min_size=1), st.integers(1, 5))
def test_sums_of_floats(numbers: list[float], partitions: int) -> None:
    code = "inputs.params(args['numbers']).sum()"
    found = expression(code, numbers=numbers, partitions=partitions)
    assert found == pytest.approx(math.fsum(numbers), abs=1e-6)
    assert found == expression(code, numbers=numbers, partitions=partitions)


@pytest.mark.parametrize("bounds", [(0,), (10,), (3, 17), (20, 3, -4), (5, 5)])
@pytest.mark.parametrize("partitions", [1, 3, 50])
def test_ranges(bounds: tuple[int, ...], partitions: int) -> None:
    code = "inputs.range(*args['bounds']).collect()"
    assert expression(code, bounds=bounds, partitions=partitions) == list(range(*bounds))


def test_two_shuffles_in_a_chain() -> None:
    text = b"a bb cc ddd eee fff a bb a"
    lengths = "inputs.lines().flat_map(str.split).map(lambda w: (w, 1)).reduce_by_key(lambda a, b: a + b)"
    code = f"{lengths}.map(lambda p: (len(p[0]), p[1])).reduce_by_key(lambda a, b: a + b, partitions=2).collect()"
    assert sorted(expression(code, {"t": text})) == [(1, 3), (2, 3), (3, 3)]


def test_json_records_and_empty_lines() -> None:
    text = b'{"a": 1}\n\n  \r\n[1, "x"]\r\nnull'
    assert expression("inputs.records().collect()", {"t": text}) == [{"a": 1}, [1, "x"], None]


def test_files_are_whole_and_named() -> None:
    files = {"d/b": b"2" * 99, "d/a": b"", "d/sub/c": b"\n\n", "e": b"3"}
    expected = [("a", b""), ("b", b"2" * 99), ("sub/c", b"\n\n"), ("e", b"3")]
    assert expression("inputs.files().collect()", files) == expected
    assert expression("inputs.files(1).collect()", files) == expected[3:]
    assert expression("inputs.files('d').count() + inputs.lines('e').count()", files) == 4
    assert expression("[(one.name, one.size, one.files) for one in inputs]", files) == [("d", 101, 3), ("e", 1, 1)]


def test_results_keep_their_types_and_belong_to_the_job() -> None:
    text = """
def job(inputs, tell):
    data = inputs.params([(1, {2, 3}), {"k": (b"", 2**80)}, [None, 0.5]])
    first = data.collect()
    tell(first)
    first.clear()
    tell(data.collect())
    return data.map(lambda x: first).count()
"""
    told: list[Any] = []
    assert run(text, tell=told.append).answer.json == "3"
    expected = [(1, {2, 3}), {"k": (b"", 2**80)}, [None, 0.5]]
    assert told[-1] == expected
    assert [type(part) for part in told[-1]] == [tuple, dict, list]
    assert [] in told, "what the job cleared is whole again in its next run"


def test_actions_in_a_loop_see_earlier_results_only() -> None:
    text = """
def job(inputs, rounds=5):
    best, seen = 0, []
    for turn in range(rounds):
        best = inputs.range(10).map(lambda x: x * 3 + best).filter(lambda x: x % 2 == turn % 2).max()
        seen.append(best)
    return seen
"""
    best, seen = 0, []
    for turn in range(5):
        best = max(x * 3 + best for x in range(10) if (x * 3 + best) % 2 == turn % 2)
        seen.append(best)
    assert json.loads(run(text).answer.json or "") == seen


def test_saved_files_are_one_a_partition() -> None:
    text = """
def job(inputs):
    inputs.range(5).map(lambda x: ("ü", x)).save()
    inputs.range(3).map(str).save("text")
    return "done"
"""
    outcome = run(text, partitions=2)
    assert outcome.answer == ('"done"', True)
    assert outcome.saved == {
        (0, 0): '["ü", 0]\n["ü", 1]\n'.encode(),
        (0, 1): '["ü", 2]\n["ü", 3]\n["ü", 4]\n'.encode(),
        (1, 0): b"0\n",
        (1, 1): b"1\n2\n",
    }


def test_a_job_may_return_what_is_no_json() -> None:
    answer = run("def job(inputs):\n    return inputs.range(2).map(lambda x: {b'x': (x,)}).collect()\n").answer
    assert answer == ('[[["x", [0]]], [["x", [1]]]]', False)


def test_chance_is_each_units_own_and_the_same_in_every_run() -> None:
    text = """
import random
def job(inputs):
    mine = inputs.range(40).map(lambda x: rng().random()).collect()
    common = inputs.range(40).map(lambda x: random.random()).collect()
    return [mine, common, inputs.range(1000).sample(0.3).collect()]
"""
    before = random.getstate()
    mine, common, sample = json.loads(run(text).answer.json or "")
    assert random.getstate() == before
    assert len(set(mine)) == len(set(common)) == 40
    assert 200 < len(sample) < 400
    random.seed(7)
    assert json.loads(run(text).answer.json or "") == [mine, common, sample]


@pytest.mark.parametrize("fraction", [0, 1, 0.0, 1.0])
def test_samples_of_all_and_nothing(fraction: float) -> None:
    assert expression("inputs.range(50).sample(args['f']).count()", f=fraction) == 50 * fraction


def test_a_folder_is_a_job_with_modules_of_its_own() -> None:
    text = """
import helper
from parts.words import split
def job(inputs):
    return inputs.lines().flat_map(split).map(helper.size).sum()
"""
    files = {"helper.py": b"def size(word):\n    return len(word)\n", "parts/words.py": b"split = str.split\n"}
    assert run(text, {"t": b"aa bbb"}, files=files).answer.json == "5"
