"""Measure what is left to honest peers while 96 identities of five networks attack. Run from the top of the repository:

    python -m scripts.bench.attacks
    python -m scripts.bench.attacks --only "slow readers",opens --size 64MiB --rounds 3 --json

`slow readers` take chunks at 30 kB/s from a peer that serves. `idle connections` are 1,536 that ask for something small
now and then. `opens` ask for the list of chunks of a share of very many files. `idle sources` open exchanges with a
peer that fetches, and have nothing; `crumbs` answer it with frames of one byte.

Each round is played twice, with the same load on the machine: the attackers are at the honest peer's partner (`here`),
or at another process that has the same (`elsewhere`). A fetch that takes over a minute is given up, as rate 0. All
peers are real processes on loopback.
"""

import argparse
import sys

from scripts.bench.cases.attacks.attackers import KINDS
from scripts.bench.cases.attacks.rounds import Outcome, play
from scripts.bench.support.data import parse_size, show_size, workspace
from scripts.bench.support.measure import BenchError, end_well_on_sigterm
from scripts.bench.support.report import MIB, Ratio, Report, Row, as_json, as_table, positive


def measure(kind: str, size: int, files: int, rounds: int) -> Report:
    """Plays the rounds of one attack. Raises BenchError."""
    report = Report(kind, f"an honest peer and {show_size(size)}; interleaved rounds: {rounds}")
    played: dict[str, list[Outcome]] = {"here": [], "elsewhere": []}
    with workspace(8 * size + files * (16 << 10)) as work:
        for _ in range(rounds):
            for where, outcomes in played.items():
                outcomes.append(play(kind, work / "round", size, files, here=where == "here"))
    for where, outcomes in played.items():
        report.rows += [
            Row(f"rate, attackers {where}", "MiB/s", [one.rate / MIB for one in outcomes]),
            Row(f"longest fetch, attackers {where}", "s", [one.longest_s for one in outcomes]),
            Row(f"status p99, attackers {where}", "ms", [one.p99_s * 1e3 for one in outcomes]),
            Row(f"peak memory, attackers {where}", "MiB", [one.peak_bytes / MIB for one in outcomes]),
        ]
    pairs = list(zip(played["here"], played["elsewhere"], strict=True))
    report.ratios += [
        Ratio("rate here / elsewhere", [here.rate / there.rate for here, there in pairs]),
        Ratio("peak memory here / elsewhere", [here.peak_bytes / there.peak_bytes for here, there in pairs]),
    ]
    return report


def main() -> int:
    options = _parser().parse_args()
    end_well_on_sigterm()
    for kind in options.only:
        try:
            report = measure(kind, options.size, options.files, options.rounds)
        except BenchError as error:
            print(f"{kind}: {error}", file=sys.stderr)
            return 1
        print(as_json(report) if options.json else as_table(report), flush=True)
    return 0


def _kinds(text: str) -> list[str]:
    kinds = text.split(",")
    if unknown := set(kinds) - KINDS.keys():
        raise argparse.ArgumentTypeError(f"no attack is called {', '.join(unknown)}")
    return kinds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attacks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_kinds, default=list(KINDS), metavar="NAME,...", help=", ".join(KINDS))
    parser.add_argument("--size", type=parse_size, default=64 * MIB, help="default 64MiB")
    parser.add_argument("--files", type=positive, default=100_000, metavar="N", help="for opens; default 100000")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="default 3")
    parser.add_argument("--json", action="store_true", help="one object a line and attack")
    return parser


if __name__ == "__main__":
    sys.exit(main())
