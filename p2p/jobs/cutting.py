"""Cuts inputs into partitions, and partitions at line ends.

First, files are cut by size alone. Then each end of a piece moves forward to the start of a line, as in Hadoop: an end
that is inside a line moves to the start of the next line, or to the end of the file. So every line belongs to exactly
one piece, and each piece can be determined without reading the others. A line never continues from one file into the
next.

This module does no IO: the caller reads the bytes, from a disk or from peers.
"""

from collections.abc import Callable, Container, Generator, Sequence
from typing import NamedTuple

DEFAULT_PARTITION_BYTES = 8 * 1024 * 1024
STEP_BYTES = 64 * 1024
MAX_PIECES = 256
"""The most files from which one partition may have pieces, because their names travel with it."""


class Piece(NamedTuple):
    """A range of bytes in one file; the file is given by its number."""

    file: int
    offset: int
    size: int


Wish = tuple[int, int]
"""A read that is wanted: (offset, length). The answer may be shorter, but not empty."""


def by_size(sizes: Sequence[int], each: int = DEFAULT_PARTITION_BYTES, whole: Container[int] = ()) -> list[list[Piece]]:
    """Cuts files, laid end to end, every `each` bytes, wherever that falls. Empty files are left out.

    The files in `whole` are not cut, and each has a partition of its own.
    """
    partitions: list[list[Piece]] = []
    room = 0
    for file, size in enumerate(sizes):
        offset = 0
        if file in whole and size:
            partitions.append([Piece(file, 0, size)])
            room = 0
            continue
        while offset < size:
            if not room or len(partitions[-1]) == MAX_PIECES:
                partitions.append([])
                room = each
            taken = min(room, size - offset)
            partitions[-1].append(Piece(file, offset, taken))
            offset += taken
            room -= taken
    return partitions


def by_file(sizes: Sequence[int], each: int = DEFAULT_PARTITION_BYTES) -> list[list[Piece]]:
    """Puts whole files, including empty ones, into partitions: each takes files until it has `each` bytes."""
    partitions: list[list[Piece]] = []
    held = each
    for file, size in enumerate(sizes):
        if held >= each or len(partitions[-1]) == MAX_PIECES:
            partitions.append([])
            held = 0
        partitions[-1].append(Piece(file, 0, size))
        held += max(size, 1)
    return partitions


def share_of(partition: int, partitions: int, count: int) -> tuple[int, int]:
    """Returns the items of a range that belong to one partition, as (first, count)."""
    first, end = partition * count // partitions, (partition + 1) * count // partitions
    return first, end - first


def line_start(at: int, size: int, step: int = STEP_BYTES) -> Generator[Wish, bytes, int]:
    """Finds the start of the first line at or past `at`, in a file of `size` bytes; returns `size` if there is none.

    Yields each read that it needs, at most `step` bytes, and is sent the bytes.
    """
    if at <= 0 or at >= size:
        return min(max(at, 0), size)
    seen = at - 1
    while seen < size:
        data = yield seen, min(step, size - seen)
        found = data.find(b"\n")
        if found >= 0:
            return seen + found + 1
        seen += len(data)
    return size


def at_lines(piece: Piece, size: int, step: int = STEP_BYTES) -> Generator[Wish, bytes, Piece]:
    """Returns the piece with both ends moved to line starts, in a file of `size` bytes. Reads as `line_start` does.

    The piece may be empty.
    """
    border = min(piece.offset + piece.size, size)
    start = yield from line_start(piece.offset, border, step)
    if start >= border:
        return Piece(piece.file, border, 0)
    end = yield from line_start(border, size, step)
    return Piece(piece.file, start, end - start)


def driven(cut: Generator[Wish, bytes, Piece], read: Callable[[int, int], bytes]) -> Piece:
    """Runs a cut until it ends; `read` is called with (offset, length)."""
    try:
        wish = next(cut)
        while True:
            wish = cut.send(read(*wish))
    except StopIteration as end:
        piece: Piece = end.value
        return piece
