"""Sets of chunks as integers, against Python's own sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.shares import bitmap

sets = st.sets(st.integers(0, 200), max_size=60) | st.sets(st.integers(0, 40), min_size=20)
some = sets.filter(bool)


def packed(chunks: set[int]) -> int:
    return sum(1 << chunk for chunk in chunks)


def ranges_of(chunks: set[int]) -> list[tuple[int, int]]:
    """Maximal runs, one chunk at a time."""
    found: list[tuple[int, int]] = []
    for chunk in sorted(chunks):
        if found and sum(found[-1]) == chunk:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((chunk, 1))
    return found


@given(st.integers(0, 200), st.integers(0, 200))
def test_span(first: int, count: int) -> None:
    assert bitmap.span(first, count) == packed(set(range(first, first + count)))


@given(sets)
def test_runs_and_members(chunks: set[int]) -> None:
    assert list(bitmap.runs(packed(chunks))) == ranges_of(chunks)
    assert list(bitmap.members(packed(chunks))) == sorted(chunks)


@given(sets)
def test_of_ranges(chunks: set[int]) -> None:
    assert bitmap.of(ranges_of(chunks)) == packed(chunks)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60))
def test_of_ranges_that_touch_or_are_empty(steps: list[tuple[int, int]]) -> None:
    """Ranges need only ascend; runs that touch are as good as one."""
    at = 0
    ranges = []
    chunks: set[int] = set()
    for gap, count in steps:
        at += gap
        ranges.append((at, count))
        chunks |= set(range(at, at + count))
        at += count
    assert bitmap.of(ranges) == packed(chunks)


@given(some)
def test_lowest_and_nth(chunks: set[int]) -> None:
    assert bitmap.lowest(packed(chunks)) == min(chunks)
    assert [bitmap.nth(packed(chunks), rank) for rank in range(len(chunks))] == sorted(chunks)


@given(sets, st.integers(0, 210), st.integers(0, 60))
def test_run_length(chunks: set[int], first: int, most: int) -> None:
    expected = 0
    while expected < most and first + expected in chunks:
        expected += 1
    assert bitmap.run_length(packed(chunks), first, most) == expected


@given(sets)
def test_bytes_are_least_significant_first(chunks: set[int]) -> None:
    size = max(chunks, default=-1) + 1
    data = bitmap.to_bytes(packed(chunks), size)
    assert len(data) == -(-size // 8)
    assert {i for i in range(8 * len(data)) if data[i // 8] >> i % 8 & 1} == chunks
    assert bitmap.from_bytes(data) == bitmap.from_bytes(bytearray(data)) == packed(chunks)


MILLION = [0, 1, 2**1_000_000 - 1, int("01" * 500_000, 2), 1 << 1_000_000]


@pytest.mark.parametrize("chunks", MILLION, ids=["none", "first", "all", "even", "last"])
def test_a_million_chunks_are_no_trouble(chunks: int) -> None:
    assert bitmap.of(list(bitmap.runs(chunks))) == chunks
    assert bitmap.from_bytes(bitmap.to_bytes(chunks, 1_000_001)) == chunks
    if chunks:
        last = bitmap.nth(chunks, chunks.bit_count() - 1)
        assert last == chunks.bit_length() - 1
