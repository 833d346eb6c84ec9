"""How fast units go through volunteers, beside other engines. Run from the top of the repository:

    python -m scripts.bench.jobs                                  every part
    python -m scripts.bench.jobs --only units,first --rounds 5 --json
    python -m scripts.bench.jobs --science --engines dask=/venvs/dask/bin/python,ray=...,spark=...

`units`: no-op units a second, and one after another. `first`: time to the first result. `records`: word count by
operations on records; `counters`: with a Counter for each partition. `kill`: a volunteer of four killed half-way.
`owner`: the owner killed half-way, and the job resumed. `memory`: of a waiting volunteer. `crowd`: 20 jobs of one
owner at once, half of which fail, beside the same jobs one after another.

Ours are real processes of the real command on loopback, an owner and volunteers of one core each. The others run with
as many worker processes in interpreters of their own; those that are not installed are left out, with a note. Results
are checked. A figure is the median of the rounds; ratios are taken round by round. With all engines and the defaults
it takes about 12 minutes on two cores.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

from scripts.bench.cases.jobs import crowd, kills, memory, units, words
from scripts.bench.cases.jobs.settings import Settings
from scripts.bench.rivals import jobs as rivals
from scripts.bench.support import shoal
from scripts.bench.support.measure import BenchError, end_well_on_sigterm
from scripts.bench.support.network import PYTHON, SCIENCE
from scripts.bench.support.report import Report, as_json, as_table, positive

PARTS: dict[str, Callable[[Settings], Report]] = {
    "units": units.units,
    "first": units.first,
    "records": partial(words.words, "records"),
    "counters": partial(words.words, "counters"),
    "kill": kills.volunteer,
    "owner": kills.owner,
    "memory": memory.memory,
    "crowd": crowd.crowd,
}


def main() -> int:
    options = _parser().parse_args()
    end_well_on_sigterm()
    notes: list[str] = []
    if not shoal.installed(notes):
        print(notes[0], file=sys.stderr)
        return 1
    try:
        settings = Settings(
            rounds=options.rounds,
            units=options.units,
            megabytes=options.megabytes,
            runtimes=(PYTHON, SCIENCE) if options.science else (PYTHON,),
            rivals=rivals.find(options.engines, notes),
            patience_s=options.patience,
        )
        for name in options.only:
            report = PARTS[name](settings)
            report.notes += notes
            print(as_json(report) if options.json else as_table(report), flush=True)
    except BenchError as error:
        print(f"jobs: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jobs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="NAME,...", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=positive, default=3, help="default 3")
    parser.add_argument("--units", type=positive, default=60_000, metavar="N", help="no-op units, default 60000")
    parser.add_argument("--megabytes", type=positive, default=256, metavar="MIB", help="of text, default 256")
    parser.add_argument("--science", action="store_true", help="python-wasm-science too")
    parser.add_argument("--engines", type=_engines, default={}, metavar="NAME=PYTHON,...", help="where others are")
    parser.add_argument(
        "--patience", type=float, default=15, metavar="S", help="a rival slower than this runs once; default 15"
    )
    parser.add_argument("--json", action="store_true", help="one object a line and part")
    return parser


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return names


def _engines(text: str) -> dict[str, str]:
    named = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    if unknown := set(named) - set(rivals.NAMES) or not named:
        raise argparse.ArgumentTypeError(f"{unknown} in {text!r}; write dask=PYTHON,ray=PYTHON,spark=PYTHON")
    return named


if __name__ == "__main__":
    sys.exit(main())
