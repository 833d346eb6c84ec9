"""Measure Shoal and what people use today, side by side on loopback. Run from the top of the repository:

    python -m scripts.bench.transfer                                every case but `disk`
    python -m scripts.bench.transfer --case one --size 256MiB --rounds 3 --json

`hash`: indexing. `one`, `four`: a large file from one and from four sources. `small`: many small files. `disk`: larger
and larger files on disk, only when asked for. `idle`: a waiting peer, and the start of the command.

A rate comes from the time a program states for the transfer itself (its wall time where it states none); `wall s` is
the whole process with its start. Peak memory is `VmHWM`, the largest of the rounds; times are medians.
"""

import argparse
import sys
from collections.abc import Callable

from scripts.bench.cases.transfer import fetching
from scripts.bench.cases.transfer.hashing import hashing
from scripts.bench.cases.transfer.settings import Settings
from scripts.bench.idle import idle
from scripts.bench.support.data import parse_size
from scripts.bench.support.measure import BenchError, end_well_on_sigterm
from scripts.bench.support.report import Report, as_json, as_table, positive

CASES: dict[str, Callable[[Settings], Report]] = {
    "hash": hashing,
    "one": fetching.one,
    "four": fetching.four,
    "small": fetching.small,
    "disk": fetching.disk,
    "idle": lambda _: idle(),
}
ONLY_WHEN_ASKED = {"disk"}


def main() -> int:
    options = _parser().parse_args()
    end_well_on_sigterm()
    settings = Settings(
        rounds=options.rounds,
        size=options.size,
        small_files=options.small_files,
        reshare_files=options.reshare_files,
        disk_size=options.disk_size,
    )
    for name in options.case or [name for name in CASES if name not in ONLY_WHEN_ASKED]:
        try:
            report = CASES[name](settings)
        except BenchError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        report.notes = list(dict.fromkeys(report.notes))
        print(as_json(report) if options.json else as_table(report), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="transfer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=CASES, help="repeatable; default: all but disk")
    parser.add_argument("--rounds", type=positive, default=5, help="default 5")
    parser.add_argument("--size", type=parse_size, default="1GiB", help="of the large file, default 1GiB")
    parser.add_argument("--small-files", type=positive, default=10_000, metavar="N", help="default 10000")
    parser.add_argument("--reshare-files", type=positive, default=100_000, metavar="N", help="default 100000")
    parser.add_argument("--disk-size", type=parse_size, default="10GiB", help="default 10GiB")
    parser.add_argument("--json", action="store_true", help="one object a line and case")
    return parser


if __name__ == "__main__":
    sys.exit(main())
