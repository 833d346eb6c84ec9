"""Measure what a program in Python waits for: `Peer()`, the first results of `map`, many items, large ones. Run from
the top of the repository:

    python -m scripts.bench.map
    python -m scripts.bench.map --large 1GiB      # items of so much in all, 1 MiB each
"""

import argparse
import json
import sys

from scripts.bench.support import shoal
from scripts.bench.support.data import parse_size, show_size, workspace
from scripts.bench.support.measure import BenchError, end_well_on_sigterm, run
from scripts.bench.support.report import MIB, Report, Row, as_json, as_table, positive

PROGRAM = """\
import json, os, resource, sys, time

home, helper, rounds, large = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
began = time.perf_counter()
from p2p import Peer
peer = Peer(home, peers=[helper])
opened = time.perf_counter() - began
if not rounds:
    sys.exit(print(json.dumps({"opened": [opened]})))


def doubled(item):
    return item * 2


def length(item):
    return len(item)


def timed(function, items):
    began = time.perf_counter()
    found = peer.map(function, items).result()
    return time.perf_counter() - began, found


timed(doubled, range(4))  # the guest is warm from here
first = [timed(doubled, range(4))[0] for _ in range(rounds)]
many = [timed(doubled, range(1000))[0] for _ in range(rounds)]
block, count = os.urandom(1 << 20), large >> 20
took, found = timed(length, (block for _ in range(count)))
assert found == [1 << 20] * count and peer.shares() == []
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"first": first, "many": many, "large": [took], "peak": [peak]}))
"""
"""The program that is measured, as a user writes it."""


def mapping(rounds: int, large: int) -> Report:
    """Times of a program whose home has a running peer, with one volunteer whose guest is warm."""
    report = Report("map", f"a peer that runs, one volunteer on this machine; {rounds} rounds, after one that warms up")
    with workspace(4 * large + (256 << 20), on_disk=True) as work:
        program = work / "program.py"
        program.write_text(PROGRAM)
        with shoal.node(work / "helper", "--volunteer") as helper, shoal.node(work / "home") as node:
            argv = [sys.executable, str(program), str(node.home), helper.address]
            opened = [_asked([*argv, "0", "0"])["opened"][0] for _ in range(rounds)]
            found = _asked([*argv, str(rounds), str(large)])
    report.rows += [
        Row("import p2p and Peer()", "s", opened),
        Row("map of 4 items", "s", found["first"]),
        Row("map of 1,000 items", "s", found["many"]),
        Row(f"map of {show_size(large)} in items of 1 MiB", "MiB/s", [large / MIB / found["large"][0]]),
        Row("peak of the program", "MiB", found["peak"]),
    ]
    return report


def _asked(argv: list[str]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads(run(argv).stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="map", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--large", type=parse_size, default=64 << 20, help="default: 64 MiB")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    options = parser.parse_args()
    end_well_on_sigterm()
    try:
        report = mapping(options.rounds, options.large)
    except BenchError as error:
        print(f"map: {error}", file=sys.stderr)
        return 1
    print(as_json(report) if options.json else as_table(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
