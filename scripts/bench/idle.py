"""Measure a peer that does nothing: its memory, and how soon it and the command are there. Run from the top of the
repository:

    python -m scripts.bench.idle
    python -m scripts.bench.idle --json

`python -m scripts.bench.transfer` runs it too, as its case `idle`.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.cases.transfer.turns import take_turns
from scripts.bench.support import shoal
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import BenchError, Sample, end_well_on_sigterm, run, status_bytes
from scripts.bench.support.report import MIB, Ratio, Report, Row, as_json, as_table

STARTS = 5
HELPS = 9
SETTLE_S = 2
ROOM_BYTES = 64 << 20
BARE = """\
import typer
app = typer.Typer()
@app.command()
def main(name: str) -> None: print(name)
app()
"""


def idle() -> Report:
    """Memory of an idle peer, its time to `ready`, and `--help` against the smallest program with typer."""
    report = Report("idle", f"a waiting peer, median of {STARTS}; --help, median of {HELPS}")
    have_shoal = shoal.installed(report.notes)
    with workspace(ROOM_BYTES) as work:
        if have_shoal:
            report.rows += _starts(work)
        bare = work / "bare.py"
        bare.write_text(BARE)
        contenders = {"bare typer --help": lambda: _timed([sys.executable, str(bare), "--help"])}
        if have_shoal:
            contenders["shoal --help"] = lambda: _timed([str(shoal.PROGRAM), "--help"])
        helps = take_turns("idle", contenders, HELPS)
    report.rows += [Row.time(name, samples) for name, samples in helps.items()]
    if have_shoal:
        pairs = zip(helps["shoal --help"], helps["bare typer --help"], strict=True)
        times = [ours.wall_s / bare_s.wall_s for ours, bare_s in pairs]
        report.ratios.append(Ratio("time of shoal --help / bare typer --help", times))
    return report


def _starts(work: Path) -> list[Row]:
    """Start a peer in a new home and again in the same, and look at the second while it waits."""
    new_s: list[float] = []
    known_s: list[float] = []
    resident: list[float] = []
    proportional: list[float] = []
    home = work / "home"
    for _ in range(STARTS):
        started = time.perf_counter()
        with shoal.node(home):
            new_s.append(time.perf_counter() - started)
        started = time.perf_counter()
        with shoal.node(home) as node:
            known_s.append(time.perf_counter() - started)
            time.sleep(SETTLE_S)
            resident.append(status_bytes(node.server.pid, "VmRSS") / MIB)
            proportional.append(status_bytes(node.server.pid, "Pss", "smaps_rollup") / MIB)
        shutil.rmtree(home)
    return [
        Row("node to ready, new home", "s", new_s),
        Row("node to ready, known home", "s", known_s),
        Row("node idle, RSS", "MiB", resident),
        Row("node idle, PSS", "MiB", proportional),
    ]


def _timed(argv: Sequence[str]) -> Sample:
    return Sample.of(run(argv))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="idle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one object on one line")
    options = parser.parse_args()
    end_well_on_sigterm()
    try:
        report = idle()
    except BenchError as error:
        print(f"idle: {error}", file=sys.stderr)
        return 1
    print(as_json(report) if options.json else as_table(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
