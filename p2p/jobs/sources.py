"""Turns bytes and numbers into records, for the units of a first stage.

Records are made in batches, so that no more than a batch has to be in memory. Each batch is a sequence, so that the
loop over its records costs nothing extra.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from p2p.jobs.cutting import DEFAULT_PARTITION_BYTES
from p2p.jobs.faults import JobFault, Place, shown
from p2p.jobs.unpacking import COMPRESSED, HEAD_BYTES, BadFile, form_of, in_lines, unpacked

BATCH_BYTES = 1024 * 1024
BATCH_ITEMS = 1024 * 1024
KINDS = ("lines", "records", "chunks", "files", "range", "params")
OF_BYTES = KINDS[:4]
OF_TEXT = KINDS[:3]
"""Kinds that read files in other forms than UTF-8 text whole, and unpack them."""


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


class Replaced:
    """The characters of a unit's text that were replaced, because the bytes there are not UTF-8, or that are NUL, as in
    UTF-16 without a byte order mark.
    """

    def __init__(self) -> None:
        self.count = 0
        self.piece = 0
        """The piece of the unit in which the first one is."""

    def in_text(self, text: str, data: bytes, piece: int) -> None:
        """Counts them in a text that was made of this data."""
        found = text.count(_REPLACEMENT) - data.count(_REPLACEMENT.encode()) + text.count("\0")
        if found and not self.count:
            self.piece = piece
        self.count += found


def batches(
    source: Source, given: Sequence[Any], blobs: Sequence[bytes], replaced: Replaced
) -> Iterator[Sequence[Any]]:
    """A unit's records. `blobs` are the bytes of its pieces, and `given` says of each its path, offset and size, and
    whether it is the whole file; for items, `given` is the first of them and how many.

    Raises JobFault for a file that cannot be read.
    """
    match source.name:
        case "lines":
            yield from _texts(source, given, blobs, replaced)
        case "records":
            for batch in _texts(source, given, blobs, replaced):
                yield [line for line in batch if line and not line.isspace()]
        case "chunks":
            for piece, blob in zip(given, blobs, strict=True):
                for part in _unpacked(source, piece, blob, DEFAULT_PARTITION_BYTES):
                    if part:
                        yield [part]
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


def _texts(source: Source, given: Sequence[Any], blobs: Sequence[bytes], replaced: Replaced) -> Iterator[list[str]]:
    """Batches of the lines of all pieces, without a byte order mark at a file's beginning. Raises JobFault."""
    for number, (piece, blob) in enumerate(zip(given, blobs, strict=True)):
        begins = not piece[1]
        for part in _unpacked(source, piece, blob):
            if begins and b"\r" in part[:-1] and b"\n" not in part:
                raise JobFault(f"the input's file {shown(piece[0])} {_OLD_LINES}", kind="BadFile", place=source.place)
            mark = len(BOM_UTF8) if begins and part.startswith(BOM_UTF8) else 0
            yield from _lines(part, mark, number, replaced)
            begins = False


def _unpacked(source: Source, piece: Sequence[Any], blob: bytes, least: int = 0) -> Iterator[bytes]:
    """The bytes of a piece; if it is a file that is stored in another form, its text, in parts that end at line ends.

    Raises JobFault.
    """
    path, offset, _, whole = piece
    form = "" if offset else form_of(blob[:HEAD_BYTES])
    if not form or (source.name == "chunks" and form not in COMPRESSED):
        yield blob
        return
    try:
        if not whole:
            raise BadFile(_NOT_NOTICED.format(form=form))
        yield from in_lines(unpacked(blob, form, as_text=source.name != "chunks"), least)
    except BadFile as error:
        raise JobFault(f"the input's file {shown(path)} {error}", kind="BadFile", place=source.place) from None


def _lines(blob: bytes, start: int, piece: int, replaced: Replaced) -> Iterator[list[str]]:
    """Yields bytes that are whole lines, from `start` on, as text without line ends; what is not UTF-8 is replaced."""
    while start < len(blob):
        end = blob.find(b"\n", start + BATCH_BYTES) + 1 or len(blob)
        data = blob[start:end]
        try:
            text = data.decode()
            is_plain = b"\0" not in data
        except UnicodeDecodeError:
            text, is_plain = data.decode("utf-8", "replace"), False
        if not is_plain:
            replaced.in_text(text, data, piece)
        lines = text.replace("\r\n", "\n").split("\n")
        if not lines[-1]:
            lines.pop()
        yield lines
        start = end


_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_OLD_LINES = (
    "is a single line with carriage returns (CR) in it: as on old Macs, they may be its line ends, but here only LF "
    "and CR LF are. Convert it first, for example with `tr '\\r' '\\n'`"
)
_NOT_NOTICED = (
    "begins as {form} does, and its name does not say so: it was cut into units as text. Rename it, or convert it"
)
