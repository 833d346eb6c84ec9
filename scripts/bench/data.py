"""Measure how shares are read as data, side by side with files and nginx. Run from the top of the repository:

    python -m scripts.bench.data                                  every case
    python -m scripts.bench.data --case warm --rounds 3 --json

`cold`: two of six columns of a table of 75 MB, by a peer that has nothing yet: seconds, and how much of the file it
fetched. `warm`: the same of a table of 1 GiB that is here, beside the file. `stream`: a file of 1 GiB through curl,
beside nginx. `clients`: 10 GiB in all to 8 clients. `requests`: small ranges. `compact`: many small files into a large
one, beside DuckDB and Spark. `map`: a function of many items at a volunteer.

Seconds of a query are without the start of Python; `wall s` is the whole process. The server is the peer that is asked.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable

from scripts.bench.cases.data import mapping, reading, small_files, streaming
from scripts.bench.cases.data.settings import Settings
from scripts.bench.support.measure import BenchError, end_well_on_sigterm
from scripts.bench.support.report import Report, as_json, as_table, positive

CASES: dict[str, Callable[[Settings], Report]] = {
    "cold": reading.cold,
    "warm": reading.warm,
    "stream": streaming.stream,
    "clients": streaming.clients,
    "requests": streaming.requests,
    "compact": small_files.compact,
    "map": mapping.mapping,
}


def main() -> int:
    options = _parser().parse_args()
    end_well_on_sigterm()
    if importlib.util.find_spec("pyarrow") is None or importlib.util.find_spec("duckdb") is None:
        print("data: pyarrow and duckdb are needed: pip install '.[dev-data]'", file=sys.stderr)
        return 1
    settings = Settings(
        rounds=options.rounds,
        rows=options.rows,
        large_rows=options.large_rows,
        files=options.files,
        items=options.items,
        spark=options.spark or (sys.executable if importlib.util.find_spec("pyspark") else None),
    )
    for name in options.case or CASES:
        try:
            report = CASES[name](settings)
        except BenchError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(as_json(report) if options.json else as_table(report), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=CASES, help="repeatable; default: all")
    parser.add_argument("--rounds", type=positive, default=5, help="default 5")
    parser.add_argument("--rows", type=positive, default=2_500_000, metavar="N", help="of `cold`, default 2500000")
    parser.add_argument(
        "--large-rows", type=positive, default=35_000_000, metavar="N", help="of `warm`, default 35000000"
    )
    parser.add_argument("--files", type=positive, default=20_000, metavar="N", help="of `compact`, default 20000")
    parser.add_argument("--items", type=positive, default=1000, metavar="N", help="of `map`, default 1000")
    parser.add_argument("--spark", metavar="PYTHON", help="the Python that has pyspark")
    parser.add_argument("--json", action="store_true", help="one object a line and case")
    return parser


if __name__ == "__main__":
    sys.exit(main())
