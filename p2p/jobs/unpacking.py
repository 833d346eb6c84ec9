"""Recognises by its first bytes how a file of an input is stored, and gives its text as UTF-8, piece by piece.

Files that are compressed, or in UTF-16 or UTF-32, can only be read from their beginning, so each is one unit. Never is
more than a piece of the text in memory: what a small file becomes has no bound.
"""

import codecs
import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from typing import Any, NamedTuple

HEAD_BYTES = 16
"""How many of a file's first bytes are enough to recognise it."""
PIECE_BYTES = 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
"""The longest line of a file that is unpacked."""
MAX_XZ_BYTES = 256 * 1024 * 1024
"""The most memory that an xz file may ask for; `xz -9` asks for 65 MiB."""
COMPRESSED = {"gz": b"\x1f\x8b\x08", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00", "zst": b"\x28\xb5\x2f\xfd"}
_BZ2_BLOCKS = b"1AY&SY", b"\x17rE8P\x90"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FORMS = (*COMPRESSED, "utf-16", "utf-32")
_STEP_BYTES = 64 * 1024


class BadFile(ValueError):
    """Raised for a file that cannot be unpacked. The text says why, and what to do; it does not name the file."""


def form_of(head: bytes) -> str:
    """Returns the form of a file that begins with these bytes: one of FORMS, or "" for what is read as it is."""
    for form, magic in COMPRESSED.items():
        if head.startswith(magic) and (form != "bz2" or (head[3:4].isdigit() and head[4:10] in _BZ2_BLOCKS)):
            return form
    return next((form for mark, form in _MARKS if head.startswith(mark)), "")


def form_named(path: str) -> str:
    """Returns the form that a file's name suggests, where its bytes are not here: one of COMPRESSED, or ""."""
    ending = path.rpartition(".")[2].lower()
    return ending if ending in COMPRESSED else {"tgz": "gz", "tbz2": "bz2", "txz": "xz"}.get(ending, "")


def read_whole(files: Iterable[tuple[str, str]], how: str = "unpacked") -> list[str]:
    """Says of files, given as name and form, which are one unit each, and why. Returns nothing or one sentence."""
    found = [(name, form) for name, form in files if form]
    if not found:
        return []
    names = ", ".join(name for name, _ in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    forms = ", ".join(form for form in FORMS if any(form == one for _, one in found))
    return [f"{how}, and so one unit a file ({forms}): {names}. More and smaller files make more units"]


def not_utf8(name: str, count: int) -> str:
    """Says of a file that it is not UTF-8; in one unit, `count` characters were replaced, or are NUL."""
    return (
        f"{name} is not UTF-8 text: {'1 character' if count == 1 else f'{count:,} characters'} of the first unit that "
        "met it, read as \N{REPLACEMENT CHARACTER} or NUL. Convert it first, for example with "
        "`iconv -f ISO-8859-2 -t UTF-8`"
    )


def unpacked(data: bytes, form: str, *, as_text: bool = True) -> Iterator[bytes]:
    """Yields the text of a whole file of this form, as UTF-8, in pieces. Raises BadFile, MemoryError.

    Without `as_text`, what is compressed is decompressed and nothing else.
    """
    if form in COMPRESSED:
        pieces = _decompressed(data, form)
        return _text_of(pieces) if as_text else pieces
    return _decoded((data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)), form)


def in_lines(pieces: Iterator[bytes], least: int = 0) -> Iterator[bytes]:
    """Yields the same bytes in pieces that end at line ends, except the last. Each has at least `least` bytes.

    Raises BadFile for a line that is too long.
    """
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        end = piece.rfind(b"\n") + 1 if size + len(piece) >= least else 0
        if end:
            yield b"".join([*kept, piece[:end]])
            kept, size, piece = [], 0, piece[end:]
        if piece:
            kept.append(piece)
            size += len(piece)
            if size > max(MAX_LINE_BYTES, 2 * least):
                raise BadFile(f"has a line of more than {MAX_LINE_BYTES >> 20} MiB once it is unpacked")
    if kept:
        yield b"".join(kept)


class _Engine(NamedTuple):
    """One decompressor. `decompress(data, most)` returns at most `most` bytes; `wants()` says it can take more data."""

    decompress: Callable[[bytes, int], bytes]
    wants: Callable[[], bool]
    state: Any
    error: type[Exception]


def _gz() -> _Engine:
    state = zlib.decompressobj(31)
    full = False

    def decompress(data: bytes, most: int) -> bytes:
        nonlocal full
        made = state.decompress(state.unconsumed_tail + data, most)
        full = len(made) == most
        return made

    return _Engine(decompress, lambda: not full and not state.unconsumed_tail, state, zlib.error)


def _bz2() -> _Engine:
    from bz2 import BZ2Decompressor

    state = BZ2Decompressor()
    return _Engine(state.decompress, lambda: state.needs_input, state, OSError)


def _xz() -> _Engine:
    from lzma import FORMAT_XZ, LZMADecompressor, LZMAError

    state = LZMADecompressor(FORMAT_XZ, MAX_XZ_BYTES)
    return _Engine(state.decompress, lambda: state.needs_input, state, LZMAError)


def _zst() -> _Engine:
    found: Any = import_module("compression.zstd")  # since Python 3.14, and not in every build
    state = found.ZstdDecompressor()
    return _Engine(state.decompress, lambda: state.needs_input, state, found.ZstdError)


_ENGINES = {"gz": _gz, "bz2": _bz2, "xz": _xz, "zst": _zst}


def _decompressed(data: bytes, form: str) -> Iterator[bytes]:
    """Decompresses one compressed stream after another: a file may be several, joined, with zeros after each."""
    at = 0
    while at < len(data):
        try:
            engine = _ENGINES[form]()
        except ImportError:
            raise BadFile(f"is {form}, which this Python cannot decompress: decompress the file first") from None
        if not data.startswith(COMPRESSED[form], at):
            raise BadFile(f"has bytes after its {form} data that are no {form}: cut them off, or decompress it first")
        while not engine.state.eof:
            given = b""
            if engine.wants():
                given = data[at : at + _STEP_BYTES]
                at += len(given)
                if not given:
                    raise BadFile(f"is cut short: its {form} data does not end. Get the whole file")
            try:
                made = engine.decompress(given, PIECE_BYTES)
            except engine.error as error:
                raise BadFile(f"is damaged, or no {form} all through ({error}): get it again") from None
            if made:
                yield made
        at -= len(engine.state.unused_data)
        while at < len(data) and data[at] == 0:
            at = min(at + _STEP_BYTES, len(data)) - len(data[at : at + _STEP_BYTES].lstrip(b"\0"))


def _text_of(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yields what was decompressed: as UTF-8 too if it begins with another mark, otherwise as it is."""
    first: list[bytes] = []
    for piece in pieces:
        first.append(piece)
        if sum(map(len, first)) >= HEAD_BYTES:
            break
    every = chain(first, pieces)
    form = form_of(b"".join(first))
    yield from every if form in ("", *COMPRESSED) else _decoded(every, form)


def _decoded(pieces: Iterable[bytes], form: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(form)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()
