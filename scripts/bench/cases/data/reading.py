"""Two of six columns of a Parquet file: cold, from another peer, and warm, beside the file on disk."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.bench.cases.data.peers import Reader, address, owner, reader, size
from scripts.bench.cases.data.settings import Settings
from scripts.bench.cases.transfer.turns import take_turns
from scripts.bench.support import shoal
from scripts.bench.support.data import show_size, workspace
from scripts.bench.support.measure import BenchError, Sample, run
from scripts.bench.support.report import Ratio, Report, Row

QUERIES = str(Path(__file__).with_name("queries.py"))
BYTES_A_ROW = 64
"""At most, of the tables that `queries.py make` writes."""


def cold(settings: Settings) -> Report:
    """What a new peer fetches for a query, and how long that takes."""
    report = Report("cold", "")
    if not shoal.installed(report.notes):
        return report
    with workspace(3 * settings.rows * BYTES_A_ROW) as work:
        table = make(work, settings.rows)
        with owner(work, table.parent) as shared:
            whole = size(table)
            report.title = f"{show_size(whole)} of Parquet, 2 of 6 columns, by a peer that has nothing yet"
            parts: dict[str, list[float]] = {}
            samples: dict[str, list[Sample]] = {}
            for _ in range(settings.rounds):
                for engine in ("pyarrow", "pandas", "duckdb", "row"):
                    with reader(work, shared) as asked:
                        samples.setdefault(engine, []).append(query(engine, asked, table))
                        parts.setdefault(engine, []).append(asked.downloaded / whole)
        report.rows = [Row.time(named(engine), found) for engine, found in samples.items()]
        report.rows += [Row(f"{named(engine)}, fetched", "of the file", found) for engine, found in parts.items()]
        report.notes.append("one row is looked for by its number: the footer says which group of rows may have it")
    return report


def warm(settings: Settings) -> Report:
    """The same once all is on disk, beside the file itself."""
    report = Report("warm", "")
    if not shoal.installed(report.notes):
        return report
    with workspace(2 * settings.large_rows * BYTES_A_ROW) as work:
        table = make(work, settings.large_rows)
        report.title = f"{show_size(size(table))} of Parquet, 2 of 6 columns, all in memory"
        with owner(work, table.parent) as shared:
            engines = ("pyarrow", "pandas", "duckdb")
            contenders: dict[str, Callable[[], Sample]] = {}
            for engine in engines:
                contenders[f"{engine}, shoal"] = partial(query, engine, shared, table)
                contenders[f"{engine}, file"] = partial(query, engine, None, table)
            samples = take_turns("warm", contenders, settings.rounds)
    report.rows = [Row.time(name, found) for name, found in samples.items()]
    for engine in engines:
        pairs = zip(samples[f"{engine}, shoal"], samples[f"{engine}, file"], strict=True)
        ratios = [ours.seconds / theirs.seconds for ours, theirs in pairs]
        report.ratios.append(Ratio(f"time of {engine} by shoal / by the file", ratios))
    return report


def make(work: Path, rows: int) -> Path:
    """Makes the table in a folder of its own."""
    table = work / "tables" / "table.parquet"
    table.parent.mkdir()
    run([sys.executable, QUERIES, "make", str(table), str(rows)])
    return table


def query(engine: str, asked: Reader | None, table: Path) -> Sample:
    """Performs a query over the table of a share, or over the file; checks the answer. Measures the peer too."""
    where = [str(table)] if asked is None else [address(asked, table.name), str(asked.node.home), asked.link]
    ran = run([sys.executable, QUERIES, engine, *where], [] if asked is None else [asked.node.server])
    said = json.loads(ran.stdout)
    key = (engine == "row", str(table))
    if abs(said["answer"] - _ANSWERS.setdefault(key, said["answer"])) > 1:
        raise BenchError(f"WRONG RESULT: {engine} says {said['answer']}, others {_ANSWERS[key]}")
    return Sample.of(ran, float(said["seconds"]))


_ANSWERS: dict[tuple[bool, str], float] = {}
"""The first answer over each table, of which the others are copies but for the order of additions."""


def named(engine: str) -> str:
    return "duckdb, one row" if engine == "row" else engine
