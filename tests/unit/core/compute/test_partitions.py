"""Partitions: every byte and every item in exactly one, in order, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.compute import partitions as module
from p2p.core.compute.partitions import (
    MANY_UNITS,
    MAX_CHOSEN_UNITS,
    MAX_PIECES,
    MIN_CHOSEN_BYTES,
    MIN_CORES,
    MIN_PARTITION_BYTES,
    MIN_UNITS,
    UNITS_PER_CORE,
    Partitioner,
    Piece,
    chosen_bytes,
    chosen_count,
    items,
)
from p2p.core.compute.plan import MAX_UNITS_PER_STAGE, Source
from p2p.errors import JobError
from p2p.jobs.cutting import DEFAULT_PARTITION_BYTES
from tests.support.constants import Shorten

LINES, FILES = Source("lines"), Source("files")
INPUTS = st.lists(st.lists(st.integers(0, 40_000), max_size=20), max_size=4)
EACH = st.integers(MIN_PARTITION_BYTES, 30_000)


@given(INPUTS, EACH)
def test_every_byte_is_in_exactly_one_partition(inputs: list[list[int]], each: int) -> None:
    cut = Partitioner(inputs, each).pieces(LINES)
    pieces = [piece for partition in cut for piece in partition]
    expected = 0
    at = iter(pieces)
    for number, sizes in enumerate(inputs):
        for file, size in enumerate(sizes):
            offset = 0
            while offset < size:
                piece = next(at)
                assert piece[:3] == (number, file, offset)
                assert piece.length > 0
                offset += piece.length
            assert offset == size
            expected += size
    assert next(at, None) is None
    assert all(sum(piece.length for piece in partition) <= each for partition in cut)
    assert len(cut) == -(-expected // each)


@given(INPUTS, EACH)
def test_files_are_never_split_and_each_is_there_once(inputs: list[list[int]], each: int) -> None:
    cut = Partitioner(inputs, each).pieces(FILES)
    assert all(cut)
    pieces = [piece for partition in cut for piece in partition]
    assert pieces == [Piece(n, file, 0, size) for n, sizes in enumerate(inputs) for file, size in enumerate(sizes)]


def test_one_input_alone() -> None:
    cut = Partitioner([[5000], [9000, 100]], 4096).pieces(Source("records", input=1))
    assert cut == [
        (Piece(1, 0, 0, 4096),),
        (Piece(1, 0, 4096, 4096),),
        (Piece(1, 0, 8192, 808), Piece(1, 1, 0, 100)),
    ]


def test_no_partition_has_more_small_files_than_a_message_can_name() -> None:
    cut = Partitioner([[1] * 1000]).pieces(LINES)
    assert [len(partition) for partition in cut] == [MAX_PIECES] * 3 + [1000 - 3 * MAX_PIECES]
    assert sum(len(partition) for partition in Partitioner([[0] * 1000]).pieces(FILES)) == 1000


def test_empty_inputs_have_no_partitions() -> None:
    assert Partitioner([[], [0, 0]]).pieces(LINES) == []
    assert Partitioner([[]]).pieces(FILES) == []


def test_too_many_partitions_are_refused_before_they_are_made() -> None:
    with pytest.raises(JobError, match="partitions"):
        Partitioner([[2**52]]).pieces(LINES)
    with pytest.raises(JobError, match="too small"):
        Partitioner([[1]], 10)


def test_too_many_files_are_refused(shorten: Shorten) -> None:
    shorten(module, "MAX_UNITS_PER_STAGE", 3)
    with pytest.raises(JobError, match="4 partitions"):
        Partitioner([[1] * 4 * MAX_PIECES]).pieces(LINES)


@given(st.integers(0, 10**7), st.integers(1, 200))
def test_every_item_is_in_exactly_one_partition(count: int, partitions: int) -> None:
    at = 0
    for partition in range(partitions):
        first, length = items(count, partitions, partition)
        assert first == at
        assert length in {count // partitions, count // partitions + 1}
        at += length
    assert at == count


def test_the_most_units_are_cut_exactly() -> None:
    assert len(Partitioner([[MAX_UNITS_PER_STAGE * 4096]], 4096).pieces(LINES)) == MAX_UNITS_PER_STAGE


@given(st.one_of(st.integers(0, 2**24), st.integers(0, 2**50)), st.integers(0, 10**5))
def test_chosen_partitions_keep_every_core_busy_and_are_not_too_many(size: int, cores: int) -> None:
    each = chosen_bytes(size, cores)
    units = -(-size // each)
    assert each >= MIN_CHOSEN_BYTES
    wished = min(UNITS_PER_CORE * max(cores, MIN_CORES), MAX_CHOSEN_UNITS)
    assert units <= MAX_UNITS_PER_STAGE // 2 + MAX_UNITS_PER_STAGE // 100
    if each > MIN_CHOSEN_BYTES:
        assert units >= wished
    if each < DEFAULT_PARTITION_BYTES:
        # Each is up to half as large as it would be without whole steps.
        assert units <= 2 * wished
    if each > DEFAULT_PARTITION_BYTES:
        assert units >= MANY_UNITS


def test_what_is_chosen_for_some_sizes() -> None:
    mib = 1024 * 1024
    assert chosen_bytes(0, 0) == chosen_bytes(mib, 4) == chosen_bytes(4 * mib, 1000) == MIN_CHOSEN_BYTES
    assert chosen_bytes(64 * mib, 4) == chosen_bytes(64 * mib, 0) == 2 * mib
    assert chosen_bytes(64 * mib, 64) == mib // 4
    assert chosen_bytes(1024 * mib, 4) == chosen_bytes(300 * 1024 * mib, 1) == DEFAULT_PARTITION_BYTES
    assert chosen_bytes(2**40, 1000) > DEFAULT_PARTITION_BYTES
    assert [chosen_count(cores) for cores in (0, 1, 3, 50, 10**6)] == [MIN_UNITS, MIN_UNITS, 12, 200, MAX_CHOSEN_UNITS]
