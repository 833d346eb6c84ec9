"""What a query answers: as rows of text, as lines, or as a file."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from p2p.client.sql.engine import Engine, Selected
from p2p.client.sql.literals import as_literal

Format = Literal["csv", "json", "jsonl", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)
_BY_SUFFIX: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_COPIED = {
    "csv": "format csv, header",
    "json": "format json, array true",
    "jsonl": "format json",
    "parquet": "format parquet",
}
_NUMBERS = ("INT", "FLOAT", "DOUBLE", "DECIMAL", "UINT", "TINYINT", "SMALLINT", "BIGINT", "HUGEINT", "UTINYINT")
_BATCH = 1024


class Table(NamedTuple):
    """The first rows of an answer, as text, where None is NULL; `numbers` are the columns that have numbers."""

    columns: list[str]
    rows: list[tuple[str | None, ...]]
    numbers: set[int]
    is_cut: bool
    """Whether there are more rows."""


def format_of(path: Path) -> Format | None:
    """The format that the name of a file says."""
    return _BY_SUFFIX.get(path.suffix.lower())


def table(engine: Engine, selected: Selected, most: int) -> Table:
    """The first rows of what a statement selects. Raises QueryError."""
    found = of_cursor(engine, engine.perform(f"{_texts(selected)} limit {most + 1}"), most)
    numbers = {at for at, kind in enumerate(selected.types) if kind.startswith(_NUMBERS)}
    return found._replace(columns=selected.columns, numbers=numbers)


def of_cursor(engine: Engine, cursor: Any, most: int) -> Table:
    """The first rows of what any other statement answers."""
    with engine.errors():
        columns = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchmany(most + 1) if columns else []
        texts = [tuple(None if cell is None else str(cell) for cell in row) for row in rows[:most]]
        return Table(columns, texts, set(), len(rows) > most)


def lines(engine: Engine, selected: Selected, form: Format) -> Iterator[str]:
    """What a statement selects, as lines of CSV or JSON. Raises QueryError."""
    if form == "csv":
        yield _csv_line(selected.columns)
        yield from map(_csv_line, _rows(engine, _texts(selected)))
        return
    begin = "[" if form == "json" else ""
    for row in _rows(engine, f"select to_json(result)::varchar from ({selected.query}\n) as result"):
        yield f"{begin}{row[0]}"
        begin = "," if form == "json" else ""
    if form == "json":
        yield "[]" if begin == "[" else "]"


def save(engine: Engine, selected: Selected, form: Format, path: Path) -> None:
    """Writes what a statement selects to a file. Raises QueryError."""
    engine.perform(f"copy ({selected.query}\n) to {as_literal(path)} ({_COPIED[form]}, use_tmp_file false)")


def _texts(selected: Selected) -> str:
    return f"select columns(*)::varchar from ({selected.query}\n)"


def _rows(engine: Engine, query: str) -> Iterator[tuple[Any, ...]]:
    cursor = engine.perform(query)
    with engine.errors():
        while rows := cursor.fetchmany(_BATCH):
            yield from rows


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
