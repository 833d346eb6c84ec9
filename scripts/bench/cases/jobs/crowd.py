"""The part about many jobs of one owner at the same time, half of which fail, beside the same jobs one after another.

No job may wait for another for ever: all at once end no later than one after another, and the error of each that fails
is told within seconds of the first failure of its unit.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio

from p2p.control import client
from p2p.control import protocol as requests
from scripts.bench.cases.jobs.settings import Settings
from scripts.bench.support.data import workspace
from scripts.bench.support.measure import ENVIRONMENT, BenchError
from scripts.bench.support.network import LONGEST_S, PYTHON, Network, network
from scripts.bench.support.report import Ratio, Report, Row

ROOM_BYTES = 1 << 30
JOBS, VOLUNTEERS, UNITS, LOOPS = 20, 2, 20, 300_000
LOOK_INTERVAL_S = 0.1
SOURCE = """\
def work(number):
    for _ in range({loops}):
        pass
    return 1 // ({bad} - number)

def job(inputs):
    return inputs.range({units}).filter(lambda number: work(number) < 2).count()
"""


def crowd(settings: Settings) -> Report:
    """Runs the jobs one after another, then all at once."""
    title = f"{JOBS} jobs of one owner, half of them with a bad record, at {VOLUNTEERS} volunteers of one core"
    report = Report("crowd", f"{title}; rounds: {settings.rounds}")
    report.notes.append(
        "told: from the first failure of a unit, looked at every "
        f"{LOOK_INTERVAL_S * 1e3:.0f} ms, to the end of the job's command; the longest of a round"
    )
    in_turn: list[float] = []
    at_once: list[float] = []
    told: list[float] = []
    with workspace(ROOM_BYTES) as work, network(work, VOLUNTEERS) as peers:
        for _ in range(settings.rounds):
            started = time.perf_counter()
            for number in range(JOBS):
                _run(peers, [number])
            in_turn.append(time.perf_counter() - started)
            started = time.perf_counter()
            told.append(_run(peers, range(JOBS)))
            at_once.append(time.perf_counter() - started)
    report.rows += [
        Row("one after another", "s", in_turn),
        Row("all at once", "s", at_once),
        Row("an error is told after", "s", told),
    ]
    report.ratios.append(
        Ratio("at once / in turn", [ours / turns for ours, turns in zip(at_once, in_turn, strict=True)])
    )
    return report


def _run(peers: Network, numbers: "range | list[int]") -> float:
    """Runs these jobs at the same time. Returns the longest time from a unit's failure to the end of its job's command.

    Raises BenchError if one ends in another way than it should.
    """
    with ExitStack() as stack:
        running = {f"job-{number}.py": stack.enter_context(_typed(peers, number)) for number in numbers}
        failed_at: dict[str, float] = {}
        ended_at: dict[str, float] = {}
        began = time.perf_counter()
        while len(ended_at) < len(running):
            time.sleep(LOOK_INTERVAL_S)
            now = time.perf_counter()
            if now - began > LONGEST_S:
                raise BenchError(f"{len(running) - len(ended_at)} of {len(running)} jobs do not end")
            for row in trio.run(client.ask, peers.owner.home, requests.JobsRequest(), _pass_over):
                if row.state == "running" and row.failures:
                    failed_at.setdefault(row.name, now)
            for name, command in running.items():
                if name not in ended_at and command.poll() is not None:
                    ended_at[name] = now
        for name, command in running.items():
            _check(name, command)
    return max((ended_at[name] - failed for name, failed in failed_at.items()), default=0.0)


def _is_bad(number: int) -> bool:
    return number % 2 == 1


@contextmanager
def _typed(peers: Network, number: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a job's command during the block."""
    folder = Path(peers.folder) / f"crowd-{number}"
    folder.mkdir(exist_ok=True)
    own = Network(folder, peers.owner, peers.volunteers)
    source = SOURCE.format(loops=LOOPS, units=UNITS, bad=UNITS // 2 if _is_bad(number) else -1)
    argv = own.argv(source, "--partitions", str(UNITS), runtime=PYTHON, arguments={})
    named = folder / f"job-{number}.py"
    (folder / "job.py").rename(named)
    argv[argv.index(str(folder / "job.py"))] = str(named)
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # of no effect where it has ended


def _check(name: str, command: "subprocess.Popen[bytes]") -> None:
    said, complained = command.communicate()
    if _is_bad(int(name.removeprefix("job-").removesuffix(".py"))):
        if command.returncode != 1 or b"ZeroDivisionError" not in complained:
            raise BenchError(f"{name} did not end with its error: {complained[-500:]!r}")
    elif command.returncode != 0 or json.loads(said)["result"] != UNITS:
        raise BenchError(f"WRONG RESULT of {name}: {complained[-500:]!r}")


async def _pass_over(_event: requests.Event) -> None: ...
