"""Measure how much of a small upload limit is used, and whether all are served. Run from the top of the repository:

    python -m scripts.bench.limits                           every row: about 20 minutes, nearly all of it waiting
    python -m scripts.bench.limits --limit 16KiB --getters 3 --json

One peer with the limit serves several getters at once, each of which wants a file of its own; all are real processes on
loopback. `of limit` is the files' bytes by the seconds from the first request to the last byte, divided by the limit. A
getter whose source was dropped even once fails the row, as does one that ends with an error.
"""

import argparse
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import trio

from scripts.bench.support import shoal
from scripts.bench.support.data import check_same, parse_size, random_file, show_size, workspace
from scripts.bench.support.measure import ENVIRONMENT, BenchError, end_well_on_sigterm
from scripts.bench.support.report import Report, Row, as_json, as_table, positive

SIZES = {3 << 10: 64 << 10, 16 << 10: 512 << 10, 100 << 10: 1 << 20}
"""The size of each getter's file, by limit."""
GETTERS = (1, 3, 14)
MOST_TIMES_IDEAL = 3


@dataclass(frozen=True)
class Got:
    """A fetch that has ended, at `ended` of the monotonic clock; its bytes came in the `seconds` before."""

    ended: float
    seconds: float


async def get(link: str, source: shoal.Node, home: Path, out: Path) -> Got:
    """Fetches with a fresh peer. Raises BenchError if it fails."""
    argv = [str(shoal.PROGRAM), "--home", str(home), "get", link, "--out", str(out), *shoal.NETWORK, "--json"]
    ran = await trio.run_process(
        [*argv, "--peer", source.address], capture_stdout=True, capture_stderr=True, check=False, env=ENVIRONMENT
    )
    ended = time.monotonic()
    if ran.returncode:
        raise BenchError(f"a getter failed: {ran.stderr.decode(errors='replace')[-500:]}")
    return Got(ended, float(json.loads(ran.stdout)["seconds"]))


async def serve(limit: int, count: int) -> float:
    """The part of the limit that was used when so many getters were served."""
    size = SIZES[limit]
    with workspace(2 * count * size) as work, ExitStack() as stack:
        files = [random_file(work / f"file{number}", size) for number in range(count)]
        source = stack.enter_context(shoal.node(work / "s", "--upload-limit", str(limit)))
        links = [shoal.share(source, file)[0] for file in files]
        got: list[Got] = []

        async def one(number: int) -> None:
            out = work / f"out{number}"
            out.mkdir()
            got.append(await get(links[number], source, work / f"g{number}", out))
            check_same(files[number], out / files[number].name)

        with trio.move_on_after(MOST_TIMES_IDEAL * count * size / limit + 30) as patience:
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(one, number)
        if patience.cancelled_caught:
            raise BenchError(
                f"{show_size(limit)}/s: {len(got)} of {count} getters were served in {MOST_TIMES_IDEAL} times the time"
            )
        took = max(one.ended for one in got) - min(one.ended - one.seconds for one in got)
        return count * size / took / limit


def leaf(group: BaseException) -> BaseException:
    """The first error in a group of groups."""
    return leaf(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


def main() -> int:
    options = _parser().parse_args()
    end_well_on_sigterm()
    report = Report("limits", "the part of a small upload limit that is used")
    if shoal.installed(report.notes):
        for limit in options.limit or SIZES:
            for count in options.getters or GETTERS:
                failure, used = None, 0.0
                try:
                    used = trio.run(serve, limit, count)
                except* BenchError as errors:
                    failure = leaf(errors)
                if failure is not None:
                    print(f"limits: {failure}", file=sys.stderr)
                    return 1
                name = f"{show_size(limit)}/s, {count} x {show_size(SIZES[limit])}"
                report.rows.append(Row(name, "of limit", [used]))
                print(f"{name}: {used:.1%}", file=sys.stderr, flush=True)
    print(as_json(report) if options.json else as_table(report), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="limits", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", action="append", type=parse_size, choices=SIZES, help="repeatable; default: all")
    parser.add_argument("--getters", action="append", type=positive, metavar="N", help="repeatable; default: 1, 3, 14")
    parser.add_argument("--json", action="store_true", help="one object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
