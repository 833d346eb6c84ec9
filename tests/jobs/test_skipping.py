"""Operations that leave out the records for which they raise an exception, against plain Python."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.jobs.skipping import MAX_LISTED
from tests.support import local_jobs
from tests.support.local_jobs import fault

NUMBERS = st.lists(st.integers(0, 12), max_size=40)
MARKED = 3
"""The number for which the functions of these tests raise an exception."""

OPERATIONS: dict[str, tuple[str, Callable[[int], list[Any]]]] = {
    "map": ("map(lambda n: mark(n) + 1, on_error='skip')", lambda n: [n + 1]),
    "filter": ("filter(lambda n: mark(n) % 2, on_error='skip')", lambda n: [n] * (n % 2)),
    "flat_map": ("flat_map(twice, on_error='skip')", lambda n: [n, n + 1]),
    "key_by": ("key_by(lambda n: mark(n) % 3, on_error='skip').map(lambda pair: pair[1])", lambda n: [n]),
}
HEAD = f"""
def mark(n):
    if n == {MARKED}:
        raise ValueError(n)
    return n
def twice(n):
    yield n
    yield mark(n) + 1
"""


class Told:
    """What the user is told of skipped records."""

    def __init__(self) -> None:
        self.count = 0
        self.reports: list[dict[str, Any]] = []

    def skips(self, unit: tuple[int, int, int], count: int, reports: Iterable[dict[str, Any]]) -> None:
        self.count += count
        self.reports += reports


def run(body: str, inputs: dict[str, bytes] | None = None, **arguments: Any) -> tuple[Any, Told]:
    told = Told()
    answer = local_jobs.run(f"{HEAD}\ndef job(inputs, **args):\n    {body}\n", inputs, skips=told.skips, **arguments)
    return json.loads(answer.answer.json), told


@given(NUMBERS, st.lists(st.sampled_from(list(OPERATIONS)), min_size=1, max_size=4), st.integers(1, 5))
def test_what_is_left_is_what_plain_python_leaves(numbers: list[int], names: list[str], partitions: int) -> None:
    expected, skipped = numbers, 0
    for name in names:
        skipped += expected.count(MARKED)
        expected = [made for n in expected if n != MARKED for made in OPERATIONS[name][1](n)]
    chain = "".join(f".{OPERATIONS[name][0]}" for name in names)
    found, told = run(f"return inputs.params({numbers}){chain}.collect()", partitions=partitions)
    assert found == expected
    assert told.count == skipped
    assert len(told.reports) <= skipped
    assert all(one["kind"] == "ValueError" and one["text"] == str(MARKED) for one in told.reports)


@given(NUMBERS, st.integers(1, 5), st.integers(1, 4))
def test_records_skipped_after_a_shuffle_count_once(numbers: list[int], partitions: int, reducers: int) -> None:
    pairs = "key_by(mark, on_error='skip').map(lambda pair: (pair[0], 1)).reduce_by_key(lambda a, b: a + b)"
    body = f"return inputs.params({numbers}).{pairs}.map(lambda pair: mark(pair[1]), on_error='skip').sum()"
    found, told = run(body, partitions=partitions, reduce_partitions=reducers)
    counts = [numbers.count(n) for n in set(numbers) - {MARKED}]
    assert found == sum(count for count in counts if count != MARKED)
    assert told.count == numbers.count(MARKED) + counts.count(MARKED)


def test_lines_that_are_no_json_are_left_out() -> None:
    text = b'{"a": 1}\n{"a": 2\n\n{"a": 3}\nnonsense\n'
    found, told = run("return inputs.records(on_error='skip').map(lambda one: one['a']).sum()", {"a.jsonl": text})
    assert found == 4
    assert told.count == 2
    assert [one["record"] for one in told.reports] == ["'{\"a\": 2'", "'nonsense'"]
    assert {one["operation"] for one in told.reports} == {"records"}
    assert fault("def job(inputs):\n    return inputs.records().count()\n", {"a.jsonl": text}).kind == "JSONDecodeError"


def test_before_map_partitions_too() -> None:
    chain = "map(mark, on_error='skip').map_partitions(lambda records: [sum(records)])"
    found, told = run(f"return inputs.params([1, 3, 5, 3]).{chain}.collect()", partitions=1)
    assert (found, told.count) == ([6], 2)


def test_saved_files_have_what_is_left() -> None:
    told = Told()
    body = "inputs.params([1, 3, 5]).map(mark, on_error='skip').save()"
    outcome = local_jobs.run(f"{HEAD}\ndef job(inputs):\n    {body}\n", partitions=1, skips=told.skips)
    assert (outcome.saved, told.count) == ({(0, 0): b"1\n5\n"}, 1)


def test_only_the_first_of_a_unit_are_reported_and_briefly() -> None:
    body = "return inputs.range(1000).map(lambda n: {}['x' * 10_000], on_error='skip').count()"
    found, told = run(body, partitions=1)
    assert (found, told.count, len(told.reports)) == (0, 1000, MAX_LISTED)
    assert [one["record"] for one in told.reports] == list(map(str, range(MAX_LISTED)))
    assert max(len(json.dumps(one)) for one in told.reports) < 1000
    assert told.reports[0]["operation"] == "map"
    assert not told.reports[0]["traceback"]


def test_an_operation_without_it_still_ends_the_job() -> None:
    told = Told()
    failed = fault(
        f"{HEAD}\ndef job(inputs):\n"
        "    return inputs.params([3, 4]).map(mark, on_error='skip').map(lambda n: mark(n - 1)).sum()\n",
        skips=told.skips,
    )
    assert (failed.kind, failed.record, failed.operation) == ("ValueError", "4", "map")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise MemoryError", MemoryError),
        ("raise SystemExit(3)", "SystemExit"),
        ("data.count()", "JobError"),
    ],
)
def test_what_is_not_about_a_record_is_not_skipped(code: str, kind: str | type[BaseException]) -> None:
    text = (
        "def job(inputs):\n    data = inputs.range(3)\n"
        f"    def work(n):\n        {code}\n    return data.map(work, on_error='skip').count()\n"
    )
    if isinstance(kind, str):
        assert fault(text).kind == kind
    else:
        with pytest.raises(kind):
            local_jobs.run(text)


def test_on_error_takes_two_words() -> None:
    failed = fault("def job(inputs):\n    return inputs.range(3).map(str, on_error='ignore').count()\n")
    assert failed.text == "map() takes on_error='fail' or 'skip', not 'ignore'"
    assert failed.place is not None
    assert failed.place.line == 3


def test_a_job_that_skips_is_not_planned_as_one_that_does_not() -> None:
    """The plans differ, so no result of one can be taken for a result of the other."""
    failed = fault(
        "import random\ndef job(inputs):\n    data = inputs.range(9)\n    for _ in range(20):\n"
        "        data = data.map(str, on_error=random.choice(['fail', 'skip']))\n    return data.count()\n"
    )
    assert failed.kind == "PlanMismatch"
