"""One round of an attack: what an honest peer gets from a peer that is attacked, or gets for it."""

import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2p.control import client
from p2p.control import protocol as requests
from p2p.ids import to_text
from p2p.wire.link import parse_link
from scripts.bench.support import shoal
from scripts.bench.support.data import check_same, random_file, random_folder
from scripts.bench.support.measure import ENVIRONMENT, BenchError, status_bytes, tree

OF_FETCHING = {"idle sources", "crumbs"}
"""The attacks on a peer that fetches; the others are on one that serves."""
FETCHES = 3
SMALL_FILE_BYTES = 16
ASK_INTERVAL_S = 0.05
GIVE_UP_S = 60.0


@dataclass
class Outcome:
    """What an honest peer saw in one round."""

    rate: float = 0.0
    """Bytes per second, the median of some fetches."""
    longest_s: float = 0.0
    """The longest of the fetches, from its first request to its last byte."""
    answers_s: list[float] = field(default_factory=list)
    """How long `status` took at the peer of which, or for which, it fetched."""
    peak_bytes: int = 0
    """The most memory that this peer has had."""

    @property
    def p99_s(self) -> float:
        return statistics.quantiles(self.answers_s, n=100)[-1]


def play(kind: str, work: Path, size: int, files: int, *, here: bool) -> Outcome:
    """Plays one round: the attackers are at the honest peer's partner if `here`, otherwise at another process."""
    outcome = Outcome()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, work)
        work.mkdir()
        source = random_file(work / "source.bin", size)
        partner = stack.enter_context(shoal.node(work / "a"))
        other = stack.enter_context(shoal.node(work / "b"))
        attacked = partner if here else other
        fetching = kind in OF_FETCHING
        origin = stack.enter_context(shoal.node(work / "s")) if fetching else partner
        link = shoal.share(origin, source)[0]
        target = link
        if kind == "opens":
            many = random_folder(work / "many", files, SMALL_FILE_BYTES)
            target = min(shoal.share(node, many)[0] for node in (partner, other))
        elif not fetching:
            shoal.share(other, source)
        else:
            stack.enter_context(_waiting(other, link, work / "never"))
        stack.enter_context(_attackers(kind, attacked, to_text(parse_link(target).share_id)))
        stack.enter_context(_asking(partner, outcome.answers_s))
        taken = []
        for number in range(1 if fetching else FETCHES):
            out = work / f"out{number}"
            taken.append(_fetch(partner, link, origin, out) if fetching else _fetch(None, link, origin, out))
            if taken[-1] == float("inf"):
                break
            check_same(source, out / source.name)
        outcome.longest_s = max(taken)
        outcome.rate = size / statistics.median(taken)
        outcome.peak_bytes = sum(status_bytes(pid, "VmHWM") for pid in tree(partner.server.pid))
    return outcome


def _fetch(by: shoal.Node | None, link: str, origin: shoal.Node, out: Path) -> float:
    """Fetches with a running peer, or else with a fresh one.

    Returns the seconds that it says it took; infinitely many if it was given up.
    """
    home = out.with_name("getting") if by is None else by.home
    argv = [str(shoal.PROGRAM), "--home", str(home), "get", link, "--out", str(out), "--json", "--peer", origin.address]
    argv += [] if by is not None else shoal.NETWORK
    try:
        said = subprocess.run(argv, stdin=-3, capture_output=True, env=ENVIRONMENT, timeout=GIVE_UP_S)
    except subprocess.TimeoutExpired:
        return float("inf")
    finally:
        if by is None:
            shutil.rmtree(home, ignore_errors=True)
    if said.returncode:
        raise BenchError(f"the honest peer's fetch failed: {said.stderr.decode(errors='replace')[-1000:]}")
    return float(json.loads(said.stdout)["seconds"])


@contextmanager
def _waiting(node: shoal.Node, link: str, out: Path) -> Iterator[None]:
    """Has the peer wait for a share that nobody gives it."""
    argv = [str(shoal.PROGRAM), "--home", str(node.home), "get", link, "--out", str(out)]
    with subprocess.Popen(argv, stdin=-3, stdout=-3, stderr=-3, env=ENVIRONMENT) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _attackers(kind: str, target: shoal.Node, share: str) -> Iterator[None]:
    argv = [sys.executable, "-m", "scripts.bench.cases.attacks.attackers", kind, target.address, share]
    with subprocess.Popen(argv, stdin=-3, stdout=-1, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise BenchError("the attackers did not begin")
            yield
        finally:
            process.kill()


@contextmanager
def _asking(node: shoal.Node, answers_s: list[float]) -> Iterator[None]:
    """Asks the peer for its status again and again."""
    over = threading.Event()

    async def ask() -> None:
        while not over.is_set():
            began = time.perf_counter()
            await client.ask(node.home, requests.StatusRequest(), _pass_over)
            answers_s.append(time.perf_counter() - began)
            await trio.sleep(ASK_INTERVAL_S)

    asking = threading.Thread(target=trio.run, args=(ask,))
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


async def _pass_over(_event: requests.Event) -> None: ...
