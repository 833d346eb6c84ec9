"""How a stage's source is cut into partitions: fixed once, from sizes alone, so that all who ask get the same.

Bytes are cut by size; where lines begin and end in them is found by who reads them (`p2p.jobs.cutting`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from p2p.core.compute.plan import MAX_UNITS_PER_STAGE, OF_BYTES, Source
from p2p.errors import JobError
from p2p.jobs import cutting

MIN_PARTITION_BYTES = 4096
UNITS_PER_CORE = 4
"""So that none idles for long while another ends its last one."""
MIN_CORES = 8
"""Others may come than those that were found."""
MAX_CHOSEN_UNITS = 4096
MIN_CHOSEN_BYTES = 64 * 1024
"""Beneath that a unit costs more than what it does."""
MANY_UNITS = 50_000
MIN_UNITS = 8
"""Of items, which may be few and each take long."""
MAX_PIECES = 256
"""Of a partition: so many small files at most."""


def chosen_bytes(size: int, cores: int) -> int:
    """How large partitions of so many bytes of input should be, for so many cores: several for each, and not too small.

    More than the usual size only where there would be too many of them.
    """
    wished = min(UNITS_PER_CORE * max(cores, MIN_CORES), MAX_CHOSEN_UNITS)
    each = min(max(size // wished, MIN_CHOSEN_BYTES), cutting.DEFAULT_PARTITION_BYTES)
    each = max(each, size // MANY_UNITS)
    # Whole steps: most end where chunks end, so that few chunks are read twice.
    return each - each % MIN_CHOSEN_BYTES


def chosen_count(cores: int) -> int:
    """Into how many partitions items should be cut, for so many cores."""
    return min(max(UNITS_PER_CORE * cores, MIN_UNITS), MAX_CHOSEN_UNITS)


class Piece(NamedTuple):
    """Bytes of a file: numbers of the input and of the file in it, offset and length in bytes."""

    input: int
    file: int
    offset: int
    length: int


class Partitioner:
    """Cuts the inputs of one job, given as the sizes of their files. `each`: bytes of a partition, about."""

    def __init__(self, inputs: Sequence[Sequence[int]], each: int = cutting.DEFAULT_PARTITION_BYTES) -> None:
        if each < MIN_PARTITION_BYTES:
            raise JobError(f"A partition of {each} bytes is too small; {MIN_PARTITION_BYTES} is the least.")
        self._inputs = inputs
        self._each = each

    def pieces(self, source: Source) -> list[tuple[Piece, ...]]:
        """The partitions of a source of bytes; lines are still to be cut. Raises JobError if they are too many."""
        assert source.kind in OF_BYTES
        chosen = range(len(self._inputs)) if source.input is None else [source.input]
        places = [(number, file) for number in chosen for file in range(len(self._inputs[number]))]
        sizes = [self._inputs[number][file] for number, file in places]
        self._refuse(sum(sizes) // self._each)
        cut = cutting.by_file if source.kind == "files" else cutting.by_size
        partitions = []
        for partition in cut(sizes, self._each):
            # Several small files may go into one partition, but not so many that their names are too long a message.
            for some in _at_most(partition, MAX_PIECES):
                partitions.append(tuple(Piece(*places[piece.file], piece.offset, piece.size) for piece in some))
        self._refuse(len(partitions))
        return partitions

    def _refuse(self, partitions: int) -> None:
        if partitions > MAX_UNITS_PER_STAGE:
            raise JobError(
                f"The inputs are cut into {partitions} partitions; {MAX_UNITS_PER_STAGE} are allowed. "
                f"Use larger ones than {self._each} bytes, or fewer and larger files."
            )


def items(count: int, partitions: int, partition: int) -> tuple[int, int]:
    """A partition of a range of `count` items: its first, and how many."""
    return cutting.share_of(partition, partitions, count)


def _at_most(pieces: list[cutting.Piece], most: int) -> Iterator[list[cutting.Piece]]:
    for at in range(0, len(pieces), most):
        yield pieces[at : at + most]
