"""Parts about SIGKILL: of a volunteer half-way through a job, and of the owner, whose job is resumed.

Half-way is half the time of the same job without a kill, which runs just before in the same round. The work is busy:
as long as volunteers outnumber the cores, a dead one costs no computing power, only what it had and others must redo.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2p.control import client
from p2p.control import protocol as requests
from scripts.bench.cases.jobs.settings import Settings
from scripts.bench.cases.jobs.turns import take_turns
from scripts.bench.rivals.jobs import Rival
from scripts.bench.support import shoal
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import ENVIRONMENT, BenchError
from scripts.bench.support.network import LONGEST_S, NO_OP, PYTHON, VOLUNTEER, Network, at, check, network
from scripts.bench.support.report import Report

ROOM_BYTES = 1 << 30
VOLUNTEERS, UNITS, UNIT_S = 4, 100, 0.2
TRIAL_LOOPS = 1_000_000
LOOK_INTERVAL_S = 0.02
SURVIVE = {"dask", "ray"}
OVER = {"done", "failed", "cancelled"}
BUSY = """\
def busy(loops):
    total = 0
    for number in range(loops):
        total += number & 7
    return total

def job(inputs, units, loops):
    return inputs.range(units).filter(lambda _: busy(loops) >= 0).count()
"""


def volunteer(settings: Settings) -> Report:
    """Kills one volunteer of four during a job."""
    report = Report("kill", f"{_work()}, one killed half-way; interleaved rounds: {settings.rounds}")
    report.notes.append("extra: the time with a kill less that without, in the same round; below zero is noise")
    if left_out := [rival.name for rival in settings.rivals if rival.name not in SURVIVE]:
        report.notes.append(f"not run: {', '.join(left_out)}; a killed process ends the whole pool, or job")
    with workspace(ROOM_BYTES) as work, network(work, VOLUNTEERS - 1) as peers:
        loops = _loops(peers)
        ours = {PYTHON: partial(_volunteer_killed, peers, loops)}
        rivals = {
            rival.name: partial(_worker_killed, rival, work) for rival in settings.rivals if rival.name in SURVIVE
        }
        take_turns(report, ours, rivals, settings, compare=False)
    return report


def owner(settings: Settings) -> Report:
    """Kills the owner's daemon during a job, and resumes the job."""
    report = Report("owner", f"{_work()}, the owner killed half-way, started again, the job resumed")
    report.notes += [
        "new unit: from typing `shoal run --resume` until a volunteer has one more done, looked at every "
        f"{LOOK_INTERVAL_S * 1e3:.0f} ms; done again: what volunteers have done in all, stragglers' second tries too, "
        "less the units of the job",
        "extra: from the start to the kill and from `--resume` to the end, less the time without a kill",
    ]
    with workspace(ROOM_BYTES) as work, network(work, VOLUNTEERS) as peers:
        loops = _loops(peers)
        ours = {PYTHON: partial(_owner_killed, peers, loops)}
        take_turns(report, ours, {}, settings)
    return report


def _work() -> str:
    return f"{UNITS} units of {UNIT_S:g} CPU seconds by {VOLUNTEERS} volunteers of one core on {os.cpu_count()} cores"


def _volunteer_killed(peers: Network, loops: int) -> dict[str, float]:
    with shoal.node(peers.folder / "victim", *VOLUNTEER) as victim:
        four = Network(peers.folder, peers.owner, (*peers.volunteers, victim))
        four.run(NO_OP, "--partitions", "400", units=400)
        whole_s = _busy(four, loops)
        killing = threading.Timer(whole_s / 2, victim.server.process.kill)
        killing.start()
        killed_s = _busy(four, loops)
        if victim.server.process.poll() is None:
            raise BenchError("the volunteer was not killed in time")
        return _extra(whole_s, killed_s)


def _worker_killed(rival: Rival, work: Path) -> dict[str, float]:
    found = rival.run(work, "kill", UNITS, UNIT_S)
    if not found["right"]:
        raise BenchError(f"WRONG RESULT of {rival.name}")
    return _extra(found["whole_s"], found["killed_s"])


def _extra(whole_s: float, killed_s: float) -> dict[str, float]:
    return {"without a kill, s": whole_s, "with a kill, s": killed_s, "extra, s": killed_s - whole_s}


def _owner_killed(peers: Network, loops: int) -> dict[str, float]:
    home = peers.folder / "killed"
    with shoal.node(home) as node:
        own = Network(peers.folder, node, peers.volunteers)
        own.run(NO_OP, "--partitions", "400", units=400)
        whole_s = _busy(own, loops)
        done_before = _units_done(peers)
        argv = own.argv(BUSY, "--partitions", str(UNITS), runtime=PYTHON, arguments={"units": UNITS, "loops": loops})
        with _typed(argv) as command:
            time.sleep(whole_s / 2)
            jobs = [job.job for job in _ask(node, requests.JobsRequest()) if job.state not in OVER]
            node.server.process.kill()
            command.communicate(timeout=LONGEST_S)
    if not jobs:
        raise BenchError("the job was over before half of its time")
    with shoal.node(home) as node:
        done_at_kill = _units_done(peers)
        started = time.perf_counter()
        with _typed([*at(node), "run", "--resume", jobs[0], "--json"]) as command:
            while _units_done(peers) == done_at_kill:
                if command.poll() is not None or time.perf_counter() - started > LONGEST_S:
                    raise BenchError("the resumed job does nothing")
                time.sleep(LOOK_INTERVAL_S)
            new_unit_s = time.perf_counter() - started
            said, _ = command.communicate(timeout=LONGEST_S)
            resumed_s = time.perf_counter() - started
    if command.returncode != 0 or json.loads(said.splitlines()[-1])["result"] != UNITS:
        raise BenchError(f"WRONG RESULT of the resumed job: {said[-200:]!r}")
    return {
        "new unit after --resume, s": new_unit_s,
        "done again, units": _units_done(peers) - done_before - UNITS,
        "without a kill, s": whole_s,
        "extra, s": whole_s / 2 + resumed_s - whole_s,
    }


@contextmanager
def _typed(argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command in the background during the block, and kills it at the block's end."""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # of no effect where it has ended


def _units_done(peers: Network) -> int:
    """The number of units that all volunteers have done since they started."""
    return sum(_ask(one, requests.VolunteerRequest()).units_done for one in peers.volunteers)


def _ask(node: shoal.Node, request: requests.AnyRequest) -> Any:
    """Asks a peer what a command would ask; from this process, since starting a command takes too long to measure."""

    async def pass_over(_event: requests.Event) -> None: ...

    return trio.run(client.ask, node.home, request, pass_over)


def _busy(peers: Network, loops: int) -> float:
    """Runs the busy job; returns the seconds from typing the command to its end."""
    answer = peers.run(BUSY, "--partitions", str(UNITS), units=UNITS, loops=loops)
    return check(answer, UNITS).wall_s


def _loops(peers: Network) -> int:
    """How many loops make a unit take about `UNIT_S` CPU seconds."""
    units = 2 * VOLUNTEERS
    idle_s, busy_s = (
        check(peers.run(BUSY, "--partitions", str(units), units=units, loops=loops), units).seconds
        for loops in (1, TRIAL_LOOPS)
    )
    cores = min(len(peers.volunteers), os.cpu_count() or 1)
    return round(UNIT_S * TRIAL_LOOPS * units / cores / max(busy_s - idle_s, 0.01))
