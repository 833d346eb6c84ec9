"""Turns bytes and numbers into records, for the units of a first stage.

Records are made in batches, so that no more than a batch has to be in memory. Each batch is a sequence, so that the
loop over its records costs nothing extra.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from p2p.jobs.faults import Place

BATCH_BYTES = 1024 * 1024
BATCH_ITEMS = 1024 * 1024
KINDS = ("lines", "records", "chunks", "files", "range", "params")
OF_BYTES = KINDS[:4]


class Source(NamedTuple):
    """What a first stage's records are made from: inputs of the job, or items that the job lists."""

    name: str
    """One of KINDS."""
    place: Place
    input: int | None = None
    """The number of the input; None: all inputs."""
    items: Sequence[Any] = ()
    """The items of a range or params."""

    @property
    def total(self) -> int:
        """How many items there are."""
        return count_of(self.items)


def count_of(items: Sequence[Any]) -> int:
    """Returns the length of a sequence, even of a range whose length is too large for an index, as can happen in a
    32-bit guest.
    """
    if isinstance(items, range):
        return max(0, -((items.start - items.stop) // items.step))
    return len(items)


def batches(source: Source, given: Sequence[Any], blobs: Sequence[bytes]) -> Iterator[Sequence[Any]]:
    """A unit's records. `blobs` are the bytes of its pieces, and `given` is the path, offset and size of each; for
    items, `given` is the first of them and how many.
    """
    match source.name:
        case "lines":
            for blob in blobs:
                yield from _lines(blob)
        case "records":
            for blob in blobs:
                for batch in _lines(blob):
                    yield [line for line in batch if line and not line.isspace()]
        case "chunks":
            yield [blob for blob in blobs if blob]
        case "files":
            yield [(piece[0], blob) for piece, blob in zip(given, blobs, strict=True)]
        case _:
            first, count = given
            end = first + count
            for at in range(first, end, BATCH_ITEMS):
                yield source.items[at : min(at + BATCH_ITEMS, end)]


def json_value(line: str) -> Any:
    """Returns the value of a line of `records()`."""
    return json.loads(line)


def _lines(blob: bytes) -> Iterable[list[str]]:
    """Returns bytes that are whole lines as text without line ends; bytes that are not UTF-8 are replaced."""
    start = 0
    while start < len(blob):
        end = blob.find(b"\n", start + BATCH_BYTES) + 1 or len(blob)
        lines = blob[start:end].decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        if not lines[-1]:
            lines.pop()
        yield lines
        start = end
