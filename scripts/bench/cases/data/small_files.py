"""Many small files of JSON lines become one of Parquet: `shoal sql`, beside DuckDB on the files, and Spark."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scripts.bench.cases.data.peers import Reader, owner, reader
from scripts.bench.cases.data.reading import QUERIES
from scripts.bench.cases.data.settings import Settings
from scripts.bench.cases.transfer.turns import take_turns
from scripts.bench.support import shoal
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import BenchError, Run, Sample, run
from scripts.bench.support.report import Report, Row

BYTES_A_FILE = 8192
"""At most, on disk."""
DUCKDB = "import duckdb, sys; duckdb.execute(sys.argv[1])"
SPARK = """
import sys
from pyspark.sql import SparkSession
session = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
session.read.json(sys.argv[1]).coalesce(1).write.mode("overwrite").parquet(sys.argv[2])
"""


def compact(settings: Settings) -> Report:
    report = Report("compact", f"{settings.files} files of JSON lines into one of Parquet")
    if not shoal.installed(report.notes):
        return report
    with workspace(settings.files * BYTES_A_FILE) as work, ExitStack() as stack:
        folder, out = work / "lines", work / "out"
        out.mkdir()
        run([sys.executable, QUERIES, "lines", str(folder), str(settings.files)])
        shared = stack.enter_context(owner(work, folder))
        asked = stack.enter_context(reader(work, shared))
        contenders: dict[str, Callable[[], Sample]] = {
            "shoal sql, own share": lambda: _sql(shared, out),
            "shoal sql, share of another": lambda: _sql(asked, out),
            "duckdb, files": lambda: _checked(run([sys.executable, "-c", DUCKDB, _copy(str(folder), out)]), out),
        }
        if settings.spark is None:
            report.notes.append("spark is not installed, or its Python not named by --spark: skipped")
        else:
            spark = settings.spark
            contenders["spark, files"] = lambda: Sample.of(run([spark, "-c", SPARK, str(folder), str(out / "spark")]))
        samples = take_turns("compact", contenders, settings.rounds)
    report.rows = [Row.time(name, found) for name, found in samples.items()]
    report.compare_speed(samples, "shoal sql, own share", "duckdb, files")
    report.compare_speed(samples, "shoal sql, own share", "spark, files")
    report.notes.append("the share of another is here after the first round, which does not count")
    return report


def _copy(where: str, out: Path) -> str:
    return f"copy (from '{where}/*.jsonl') to '{out}/all.parquet'"


def _sql(asked: Reader, out: Path) -> Sample:
    argv = [str(shoal.PROGRAM), "--home", str(asked.node.home), "sql", _copy(asked.link, out), "--allow", str(out)]
    return _checked(run(argv, [asked.node.server]), out)


def _checked(ran: Run, out: Path) -> Sample:
    made = out / "all.parquet"
    if not made.is_file():
        raise BenchError("WRONG RESULT: nothing was written")
    made.unlink()
    return Sample.of(ran)
