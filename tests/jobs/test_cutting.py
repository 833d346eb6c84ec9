from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from p2p.jobs import cutting
from p2p.jobs.cutting import MAX_PIECES, Piece, at_lines, by_file, by_size, driven, share_of

SIZES = st.lists(st.integers(0, 400), max_size=12)
TEXTS = st.lists(st.sampled_from([b"", b"a", b"\r", b"some words", b"\xff\xfe", b"\n"]), max_size=40).map(b"\n".join)


@given(SIZES, st.integers(1, 200))
def test_every_byte_is_in_exactly_one_partition_in_order(sizes: list[int], each: int) -> None:
    partitions = by_size(sizes, each)
    pieces = [piece for partition in partitions for piece in partition]
    found = [(piece.file, at) for piece in pieces for at in range(piece.offset, piece.offset + piece.size)]
    assert found == [(file, at) for file, size in enumerate(sizes) for at in range(size)]
    held = [sum(piece.size for piece in partition) for partition in partitions]
    assert all(size == each for size in held[:-1])
    assert all(0 < size <= each for size in held[-1:])


@given(SIZES, st.integers(1, 200))
def test_files_are_whole_and_all_there(sizes: list[int], each: int) -> None:
    partitions = by_file(sizes, each)
    assert [piece for partition in partitions for piece in partition] == [
        Piece(file, 0, size) for file, size in enumerate(sizes)
    ]
    for partition in partitions:
        assert sum(piece.size for piece in partition[:-1]) < each


def test_a_partition_has_not_more_pieces_than_a_message_holds() -> None:
    sizes = [1] * (2 * MAX_PIECES + 1)
    for partitions in (by_size(sizes), by_file(sizes)):
        assert list(map(len, partitions)) == [MAX_PIECES, MAX_PIECES, 1]


@given(TEXTS, st.integers(1, 60), st.integers(1, 30))
@example(b"\n\n\n", 1, 1)
@example(b"no end", 2, 1)
@example(b"x" * 300 + b"\nend\n", 7, 5)
def test_every_line_is_whole_and_in_exactly_one_piece(text: bytes, each: int, step: int) -> None:
    reads: list[int] = []

    def read(offset: int, size: int) -> bytes:
        assert offset >= 0
        assert offset + size <= len(text)
        reads.append(size)
        return text[offset : offset + size]

    cut = [
        driven(at_lines(piece, len(text), step), read)
        for partition in by_size([len(text)], each)
        for piece in partition
    ]
    assert all(size <= step for size in reads)
    assert b"".join(text[piece.offset : piece.offset + piece.size] for piece in cut) == text
    for piece in cut:
        whole = text[: piece.offset + piece.size]
        assert not piece.size or whole.endswith(b"\n") or whole == text


@given(st.integers(0, 10**12), st.integers(1, 40))
def test_items_are_shared_out_evenly_and_all(count: int, partitions: int) -> None:
    shares = [share_of(partition, partitions, count) for partition in range(partitions)]
    assert shares[0][0] == 0
    assert all(first + many == after for (first, many), (after, _) in pairwise(shares))
    assert sum(shares[-1]) == count
    assert max(many for _, many in shares) - min(many for _, many in shares) <= 1


def test_a_line_over_many_partitions_belongs_to_the_first() -> None:
    text = b"a\n" + b"b" * 500_000 + b"\nc\n"
    cut = [
        driven(at_lines(piece, len(text)), lambda offset, size: text[offset : offset + size])
        for [piece] in by_size([len(text)], 1000)
    ]
    assert cut[0] == (0, 0, len(text) - 2)
    assert cutting.STEP_BYTES < 500_000
    assert [piece.size for piece in cut[1:] if piece.size] == [2]
