"""HTML for notebooks. Whatever peers, shares and guests said in it is escaped, and shows what it hides.

A notebook runs the scripts of its outputs, so nothing may become markup. Pictures of guests are PNG or JPEG by their
first bytes, and are part of the output: nothing is loaded from elsewhere.
"""

import reprlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Template
from markupsafe import Markup
from msgspec import UnsetType

from p2p.formats import format_short_time, format_size, shortened
from p2p.site.templates import environment
from p2p.site.text import count, day

ROWS = 100
"""How many rows of a table are shown, unless less is asked for: of any longer one the first."""
LINES, CHARACTERS = 40, 300
"""How much is shown of one text."""
DEPTH = 3
PICTURES, PICTURE_BYTES = 9, 2 * 1024 * 1024
"""How many pictures are shown of one answer, and of how many bytes at most."""
_FORMATS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
_SIZES = frozenset(
    (
        "bytes",
        "size",
        "received",
        "reused",
        "uploaded",
        "downloaded",
        "bytes_moved",
        "bytes_fetched",
        "shared_bytes",
        "memory_bytes",
    )
)
_COUNTED = frozenset({"bytes", "files", "peers"})
_ID_CHARACTERS = 52


_SHORT = "white-space: nowrap"
_NUMBER = "text-align: right; white-space: nowrap"


class Cell(msgspec.Struct, frozen=True):
    """One value: lines of text, or markup that was made here; `whole` is the text if they are only its beginning."""

    lines: tuple[str, ...] = ()
    markup: Markup | None = None
    whole: str = ""
    style: str = "max-width: 40em; white-space: pre-wrap; overflow-wrap: break-word"


def table(rows: Sequence[Any], most: int = ROWS) -> str:
    """A table of records of one type, or of any values, one below the other; the first `most` of them."""
    return _table(rows, 0, most)


def record(answer: msgspec.Struct) -> str:
    """A table of the fields of an answer that are set, and the pictures among the files that it names."""
    return _record(answer, 0)


def picture(data: bytes) -> Markup | None:
    """The picture in these bytes, if that is what they are by their beginning."""
    for beginning, kind in _FORMATS.items():
        if data.startswith(beginning) and len(data) <= PICTURE_BYTES:
            return Markup('<img src="data:image/{};base64,{}" style="max-width:100%">').format(
                kind, b64encode(data).decode("ascii")
            )
    return None


def _table(rows: Sequence[Any], depth: int, most: int = ROWS) -> str:
    if not rows:
        return "<p>no rows</p>"
    shown = rows[:most]
    if all(isinstance(row, msgspec.Struct) and type(row) is type(shown[0]) for row in shown):
        names = [name for name in shown[0].__struct_fields__ if any(_says_something(row, name) for row in shown)]
        cells = [[_field(row, name, depth) for name in names] for row in shown]
    else:
        names, cells = [], [[_cell("", row, depth)] for row in shown]
    titles = [name.removesuffix("_s").replace("_", " ") for name in names]
    return _template().render(titles=titles, rows=cells, more=len(rows) - len(shown))


def _record(answer: msgspec.Struct, depth: int) -> str:
    rows = [
        [Cell((name.removesuffix("_s").replace("_", " "),), style=_SHORT), _beside(_field(answer, name, depth))]
        for name in answer.__struct_fields__
        if _is_set(getattr(answer, name))
    ]
    text = _template().render(titles=[], rows=rows, more=0)
    return text + "".join(_pictures(getattr(answer, "paths", ())))


def _pictures(paths: object) -> Iterator[Markup]:
    found = 0
    for path in paths if isinstance(paths, tuple) else ():
        if found < PICTURES and (shown := _picture_in(Path(path))) is not None:
            found += 1
            yield shown


def _picture_in(path: Path) -> Markup | None:
    """The picture in a file that was just fetched or saved; None if it is none, or is no longer there."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return picture(file.read(PICTURE_BYTES + 1))
    return None


def _beside(cell: Cell) -> Cell:
    """The cell beside its name, where numbers are not below each other."""
    return msgspec.structs.replace(cell, style=_SHORT) if cell.style == _NUMBER else cell


def _is_set(value: object) -> bool:
    return not isinstance(value, UnsetType) and value not in (None, "", (), [], {}) and value is not False


def _says_something(row: msgspec.Struct, name: str) -> bool:
    """Whether a column is worth its place for this row: zeros are, in those that people look for."""
    value = getattr(row, name)
    return _is_set(value) and (value != 0 or name in _COUNTED)


def _field(record: msgspec.Struct, name: str, depth: int) -> Cell:
    value = getattr(record, name)
    if isinstance(value, int) and (name in _SIZES or (name == "done" and hasattr(record, "size"))):
        return Cell((format_size(value),), style=_NUMBER)
    if name == "rate" and hasattr(record, "size"):
        return Cell((f"{format_size(value)}/s",), style=_NUMBER)
    return _cell(name, value, depth) if _is_set(value) or isinstance(value, bool) else Cell()


def _cell(name: str, value: Any, depth: int) -> Cell:
    """The cell for the value of a field; or without a name, for a value that somebody's function returned."""
    match value:
        case bool() if name:
            return Cell(("yes" if value else "no",))
        case int() | float() if name == "seconds" or name.endswith("_s"):
            return Cell((format_short_time(value),), style=_NUMBER)
        case float() if name == "created":
            return Cell((day(value),), style=_SHORT)
        case float() if name:
            return Cell((count(value),), style=_NUMBER)
        case int() if name:
            return Cell((f"{value:,}",), style=_NUMBER)
        case str() if name == "link":
            return Cell((shortened(value, 24),), whole=value, style=_SHORT)
        case str() if name:
            return text(value)
        case [str(), *_] if name:
            return text("\n".join(value))
        case Mapping() if name and all(isinstance(key, str) for key in value):
            return text("\n".join(f"{_brief(key)}: {_reprs.repr(one)}" for key, one in value.items()))
        case bytes() if (shown := picture(value)) is not None:
            return Cell(style=_SHORT, markup=shown)
        case msgspec.Struct() if depth < DEPTH:
            return Cell(style=_SHORT, markup=Markup(_record(value, depth + 1)))
        case [msgspec.Struct(), *_] if depth < DEPTH:
            return Cell(style=_SHORT, markup=Markup(_table(value, depth + 1)))
    return text(_reprs.repr(value))


def text(whole: str) -> Cell:
    """The cell for a text. Of a long one, it shows the beginning."""
    if len(whole) == _ID_CHARACTERS and whole.isascii() and whole.isalnum():
        return Cell((_brief(whole),), whole=whole, style=_SHORT)
    lines = whole.split("\n")
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"… {len(lines):,} lines in all"]
    return Cell(tuple(shortened(line, CHARACTERS) for line in lines))


def _brief(text: str) -> str:
    return f"{text[:12]}…" if len(text) == _ID_CHARACTERS else text


_reprs = reprlib.Repr()
_reprs.maxlist = _reprs.maxtuple = _reprs.maxset = _reprs.maxdict = 20
_reprs.maxstring = CHARACTERS
_reprs.maxother = 8 * CHARACTERS


@cache
def _template() -> Template:
    return environment(Path(__file__).parent / "templates").get_template("table.html")
