"""Cuts a stage's source into partitions, once and by sizes alone, so that all peers get the same partitions.

Inputs are cut at byte offsets; the reader of a partition finds where lines begin and end (`p2p.jobs.cutting`).
"""

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from p2p.core.compute.plan import MAX_UNITS_PER_STAGE, OF_BYTES, Source
from p2p.errors import JobError
from p2p.jobs import cutting

MIN_PARTITION_BYTES = 4096
UNITS_PER_CORE = 4
"""How many units there are per core, so that no core is idle for long while another finishes its last unit."""
MIN_CORES = 8
"""The fewest cores to partition for: more volunteers may come than were found."""
SEEDED_CORES = MIN_CORES
"""The cores to partition for if a job is given a seed: random numbers depend on the partitions, and must not depend on
which volunteers are found.
"""
MAX_CHOSEN_UNITS = 4096
MIN_CHOSEN_BYTES = 64 * 1024
"""The smallest partition size that is chosen: a smaller unit costs more to send than to run."""
MANY_UNITS = 50_000
MIN_UNITS = 8
"""The fewest partitions of a range of items: there may be few items, each of which takes long."""
MAX_PIECES = 256
"""The most pieces of files in a partition."""


def chosen_bytes(size: int, cores: int) -> int:
    """How many bytes a partition of `size` bytes of input should have: several partitions per core, not too small.

    The size exceeds the usual one only if there would otherwise be too many partitions.
    """
    wished = min(UNITS_PER_CORE * max(cores, MIN_CORES), MAX_CHOSEN_UNITS)
    each = min(max(size // wished, MIN_CHOSEN_BYTES), cutting.DEFAULT_PARTITION_BYTES)
    each = max(each, size // MANY_UNITS)
    # The size is in whole steps, so that most partitions end where chunks end, and few chunks are read twice.
    return each - each % MIN_CHOSEN_BYTES


def asked_bytes(size: int, partitions: int) -> int:
    """How many bytes a partition has if the user asks for this number of them."""
    return max(-(-size // partitions), MIN_PARTITION_BYTES)


def chosen_count(cores: int) -> int:
    """How many partitions a range of items should be cut into, for this many cores."""
    return min(max(UNITS_PER_CORE * cores, MIN_UNITS), MAX_CHOSEN_UNITS)


class Piece(NamedTuple):
    """A piece of a file: the number of the input, the number of the file within it, and offset and length in bytes."""

    input: int
    file: int
    offset: int
    length: int


class Partitioner:
    """Cuts the inputs of one job, given as the sizes of their files, into partitions of about `each` bytes.

    `whole` has, for each input, the numbers of the files that cannot be cut, because they are compressed for example.
    """

    def __init__(
        self,
        inputs: Sequence[Sequence[int]],
        each: int = cutting.DEFAULT_PARTITION_BYTES,
        whole: Sequence[Container[int]] = (),
    ) -> None:
        if each < MIN_PARTITION_BYTES:
            raise JobError(f"A partition of {each} bytes is too small; it must have at least {MIN_PARTITION_BYTES}.")
        self._inputs = inputs
        self._each = each
        self._whole = whole or [()] * len(inputs)

    def pieces(self, source: Source) -> list[tuple[Piece, ...]]:
        """The partitions of a source of bytes, not yet cut at lines. Raises JobError if there are too many."""
        assert source.kind in OF_BYTES
        chosen = range(len(self._inputs)) if source.input is None else [source.input]
        places = [(number, file) for number in chosen for file in range(len(self._inputs[number]))]
        sizes = [self._inputs[number][file] for number, file in places]
        self._refuse(sum(sizes) // self._each)
        if source.kind == "files":
            cut = cutting.by_file(sizes, self._each)
        else:
            whole = {place for place, (number, file) in enumerate(places) if file in self._whole[number]}
            cut = cutting.by_size(sizes, self._each, whole)
        partitions = []
        for partition in cut:
            # Several small files may go into one partition, but not so many that their names make too long a message.
            for some in _at_most(partition, MAX_PIECES):
                partitions.append(tuple(Piece(*places[piece.file], piece.offset, piece.size) for piece in some))
        self._refuse(len(partitions))
        return partitions

    def _refuse(self, partitions: int) -> None:
        if partitions > MAX_UNITS_PER_STAGE:
            raise JobError(
                f"The inputs are cut into {partitions} partitions; {MAX_UNITS_PER_STAGE} are allowed. "
                f"Make partitions larger than {self._each} bytes, or use fewer and larger files."
            )


def items(count: int, partitions: int, partition: int) -> tuple[int, int]:
    """A partition of a range of `count` items: its first item, and how many items it has."""
    return cutting.share_of(partition, partitions, count)


def _at_most(pieces: list[cutting.Piece], most: int) -> Iterator[list[cutting.Piece]]:
    for at in range(0, len(pieces), most):
        yield pieces[at : at + most]
