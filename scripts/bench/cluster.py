"""Measure an engine on a cluster of peers, beside the same engine on plain loopback: the same programs with as many
workers of as many cores, in turns. It needs a venv with dask, distributed and pandas. Run from the top of the
repository:

    python -m scripts.bench.cluster --env ~/dask-env

The ratio of a case is its time on the cluster by that on loopback, of the same round.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from scripts.bench.support import shoal
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import BenchError, end_well_on_sigterm, run, serve
from scripts.bench.support.report import Report, Row, as_json, as_table, positive

MEMORY = "2GiB"
FIRST_UID = 700_000
PROGRAM = Path(__file__).parent / "cases" / "cluster" / "dask_cases.py"


class Place(NamedTuple):
    """Where an engine runs: the command that runs the cases there, but for the number of workers."""

    command: list[str]


@contextmanager
def loopback(env: Path, members: int, folder: Path) -> Iterator[Place]:
    """A scheduler and workers on 127.0.0.1, without walls."""
    folder.mkdir()
    dask, port = str(env / "bin" / "dask"), "18786"
    address = f"tcp://127.0.0.1:{port}"
    common = ["--host", "127.0.0.1"]
    with ExitStack() as stack:
        scheduler = [dask, "scheduler", *common, "--port", port, "--no-dashboard"]
        stack.enter_context(serve(scheduler, folder / "scheduler.log"))
        for number in range(members):
            own = ["--nthreads", "1", "--memory-limit", MEMORY, "--no-dashboard", "--no-nanny"]
            own += ["--local-directory", str(folder / str(number))]
            stack.enter_context(serve([dask, "worker", address, *common, *own], folder / f"worker{number}.log"))
        yield Place([str(env / "bin" / "python"), "-c", PROGRAM.read_text(), address])


class Fleet(NamedTuple):
    """The owner's node, and those that lend to it."""

    owner: shoal.Node
    peers: list[str]

    def ask(self, *words: str) -> str:
        return run([str(shoal.PROGRAM), "--home", str(self.owner.home), "cluster", *words]).stdout

    def start(self, env: Path) -> float:
        """Starts the cluster. Returns the seconds that it took."""
        began = time.perf_counter()
        named = [word for peer in self.peers for word in ("--peer", peer)]
        self.ask("start", "dask", "--members", str(len(self.peers)), "--env", str(env), "--memory", MEMORY, *named)
        return time.perf_counter() - began


@contextmanager
def fleet(members: int, folder: Path) -> Iterator[Fleet]:
    """An owner and peers that list each other."""
    with ExitStack() as stack:
        nodes = []
        for name in ("owner", *map(str, range(members))):
            home = folder / name
            home.mkdir(parents=True, mode=0o700)
            # Otherwise members would be measured as whatever else runs on the machine lets them run.
            settings = '[volunteer]\npriority = "normal"\n'
            if os.geteuid() == 0:
                settings += f"[cluster]\nuids = [{FIRST_UID}, 64]\n"
            (home / "config.toml").write_text(settings)
            nodes.append(stack.enter_context(shoal.node(home)))
        owner, *others = nodes
        ids = [_id(node) for node in nodes]
        for node, peer in zip(others, ids[1:], strict=True):
            run([str(shoal.PROGRAM), "--home", str(node.home), "cluster", "allow", ids[0]])
            run([str(shoal.PROGRAM), "--home", str(owner.home), "cluster", "trust", peer])
        yield Fleet(owner, [f"{peer}@{node.address}" for peer, node in zip(ids[1:], others, strict=True)])


def _id(node: shoal.Node) -> str:
    status = json.loads(run([str(shoal.PROGRAM), "--home", str(node.home), "status", "--json"]).stdout)
    return str(status["peer"])


def measure(env: Path, members: int, rounds: int) -> Report:
    """Times of the cases on the cluster by those on loopback."""
    report = Report(
        "cluster", f"Dask, {members} workers of one core; {rounds} rounds in turns; ratios: cluster / loopback"
    )
    with workspace(8 << 30, on_disk=True) as work, fleet(members, work / "homes") as peers:
        first = peers.start(env)
        peers.ask("stop", "dask")
        starts = []
        for _ in range(rounds):
            starts.append(peers.start(env))
            peers.ask("stop", "dask")
        starts.append(peers.start(env))
        inside = [str(shoal.PROGRAM), "--home", str(peers.owner.home), "cluster", "run", "dask", "--"]
        cluster = Place([*inside, str(env / "bin" / "python"), "-c", PROGRAM.read_text(), "-"])
        ratios: dict[str, list[float]] = {}
        with loopback(env, members, work / "loopback") as plain:
            for _ in range(rounds):
                before, now = _times(plain, members), _times(cluster, members)
                for case, seconds in now.items():
                    ratios.setdefault(case, []).append(seconds / before[case])
        peers.ask("stop", "dask")
    report.rows += [Row("first start, the environment packed and sent", "s", [first])]
    report.rows += [Row("start, the environment there", "s", starts)]
    report.rows += [Row(case, "x", found) for case, found in ratios.items()]
    report.notes.append(f"median of all cases: {statistics.median(map(statistics.median, ratios.values())):.2f}x")
    return report


def _times(place: Place, members: int) -> dict[str, float]:
    said = run([*place.command, str(members)]).stdout
    found: dict[str, float] = json.loads(said.strip().splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", type=Path, required=True, help="a venv with dask, distributed and pandas, not in /tmp")
    parser.add_argument("--members", type=positive, default=2)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--json", action="store_true", help="one object on one line")
    options = parser.parse_args()
    end_well_on_sigterm()
    try:
        report = measure(options.env.absolute(), options.members, options.rounds)
    except BenchError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    print(as_json(report) if options.json else as_table(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
