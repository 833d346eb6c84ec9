"""Volunteers as real processes; and a whole fleet of processes, one of which is killed while a job runs."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import trio

from p2p.compute.answers import JobRow
from p2p.control import client
from p2p.control.protocol import JobsRequest
from tests.support.compiled import compile_once
from tests.support.processes import Node, Outcome, Peer, Running

LONELY = ("--no-lan", "--no-dht")
PLAIN = ("--runtime", "python-wasm")
"""The plain runtime, even if a faster one is installed: with that, jobs could end before a test looks at them."""
UNITS = 80
JOB = f"""
def work(n):
    return sum(i * i % 7 for i in range(60_000)) * 0 + n


def job(inputs):
    first = inputs.range({UNITS}).map(work).sum()
    pairs = inputs.range({UNITS}).map(lambda n: (n % 3, work(n))).reduce_by_key(lambda a, b: a + b)
    return [first, *sorted(pairs.collect())]
"""
RESULT = [sum(range(UNITS)), *([rest, sum(range(rest, UNITS, 3))] for rest in range(3))]
VICTIMS = ("owner", "volunteer", "worker", "guest", "tracker")
VOLUNTEERS = ("volunteer0", "volunteer1")


@contextmanager
def volunteers(tmp_path: Path, count: int) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(Peer(tmp_path / f"volunteer{n}").node("--volunteer", "--cores", "1", *LONELY))
            for n in range(count)
        ]


def peers(nodes: list[Node]) -> list[str]:
    return [option for node in nodes for option in ("--peer", node.address)]


def under_way(peer: Peer) -> list[JobRow]:
    """The jobs that this peer is running. Asks the peer itself: a command would take longer to start than some jobs."""

    async def quiet(event: object) -> None:
        pass

    rows: list[JobRow] = trio.run(client.ask, peer.home, JobsRequest(), quiet)
    return [row for row in rows if row.state in {"planning", "running"}]


class Fleet:
    """One owner, two volunteers and their tracker. All run during the body, and are started again after they were
    killed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job = folder / "job.py"
        self._stack = ExitStack()
        self._nodes: dict[str, Node] = {}
        self._tracker: Running
        self._listen = "127.0.0.1:0"

    def __enter__(self) -> Self:
        compile_once()
        self._job.write_text(JOB)
        with self._stack as stack:
            self._start_missing()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def round(self, victim: str, chance: random.Random) -> Outcome:
        """Runs a job and kills one of its processes at some moment. Returns the outcome of the first command."""
        owner = Peer(self._folder / "owner")
        peers = [option for name in VOLUNTEERS for option in ("--peer", self._nodes[name].address)]
        with owner.start("run", self._job, "--partitions", "40", "--json", *peers, "--wait", "20s") as running:
            running.says("shoal resume")
            # Anywhere from its first unit to its last; where exactly is the point.
            time.sleep(chance.uniform(0, 1.5))
            self._kill(victim, chance)
            outcome = running.wait()
        self._start_missing()
        answer = outcome
        if outcome.code:
            assert victim == "owner", outcome.err
            found = re.search(r"shoal resume (\w+)", outcome.err)
            assert found is not None
            answer = owner.run("run", "--resume", found[1], "--json")
        assert answer.json()["result"] == RESULT
        assert list((owner.home / "jobs").iterdir()) == []
        return outcome

    def _kill(self, victim: str, chance: random.Random) -> None:
        if victim == "tracker":
            self._tracker.end(signal.SIGKILL)
            return
        if victim in {"owner", "volunteer"}:
            name = "owner" if victim == "owner" else chance.choice(VOLUNTEERS)
            self._nodes.pop(name).end(signal.SIGKILL)
            return
        # A worker, or its guest. Between guests, and before the first, there is none.
        node = self._nodes[chance.choice(VOLUNTEERS)]
        workers = [pid for pid in _children(node.pid) if "p2p.sandbox.worker" in _command(pid)]
        victims = workers if victim == "worker" else [guest for pid in workers for guest in _children(pid)]
        if victims:
            os.kill(chance.choice(victims), signal.SIGKILL)

    def _start_missing(self) -> None:
        if not hasattr(self, "_tracker") or not self._tracker.is_running():
            self._tracker = self._stack.enter_context(
                Peer(self._folder / "tracker").start("tracker", "--listen", self._listen)
            )
            self._listen = self._tracker.line().split()[1].removeprefix("http://")
        for name in ("owner", *VOLUNTEERS):
            if name not in self._nodes:
                more = () if name == "owner" else ("--volunteer", "--cores", "1")
                options = (*more, "--no-lan", "--no-dht", "--tracker", f"http://{self._listen}")
                self._nodes[name] = self._stack.enter_context(Peer(self._folder / name).node(*options))


def _children(pid: int) -> list[int]:
    """The children of a process that may just have died."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
