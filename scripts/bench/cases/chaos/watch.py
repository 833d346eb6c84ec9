"""The node under test as seen from outside: whether it answers `shoal status`, and what it holds of the machine."""

import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.bench.cases.chaos.crew import Peer
from scripts.bench.support.measure import ENVIRONMENT, BenchError, status_bytes, tree

LAST_DEADLINE_S = 60.0
PAUSE_S = 1.0
SETTLE_S = 180.0
LOOK_INTERVAL_S = 1.0
SLACK_BYTES = 48 << 20


def status(node: Peer, timeout_s: float) -> dict[str, Any]:
    """The answer to `shoal status --json`. Raises BenchError if there is none in time."""
    argv = node.argv("status", "--json")
    try:
        ran = subprocess.run(argv, capture_output=True, env=ENVIRONMENT, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        bare = f"`--version` took {_bare_s(node):.1f} s just now"
        raise BenchError(f"`status` was not answered within {timeout_s:.0f} s; {bare}") from None
    if ran.returncode:
        raise BenchError(f"`status` failed: {ran.stderr.decode(errors='replace').strip()[-500:]}")
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def _bare_s(node: Peer) -> float:
    """How long this machine takes at the moment to run a command that does not ask the node."""
    started = time.monotonic()
    subprocess.run(node.argv("--version"), capture_output=True, env=ENVIRONMENT, check=False)
    return time.monotonic() - started


@dataclass
class Watch:
    """How `status` was answered so far."""

    took_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    bugs: int = 0
    """The most that the node has counted."""


@contextmanager
def watching(node: Peer, deadline_s: float, begun: float, tell: Callable[[str], None]) -> Iterator[Watch]:
    """Asks for `status` again and again during the body."""
    watch, over = Watch(), threading.Event()

    def look() -> None:
        while not over.wait(PAUSE_S):
            started = time.monotonic()
            try:
                answer = status(node, deadline_s)
            except BenchError as error:
                watch.problems.append(f"{started - begun:.1f} s: {error}")
                tell(f"{started - begun:7.1f} s  PROBLEM: {error}")
                continue
            watch.took_s.append(time.monotonic() - started)
            if answer["bugs"] > watch.bugs:
                watch.bugs = answer["bugs"]
                tell(f"{time.monotonic() - begun:7.1f} s  PROBLEM: bugs: {watch.bugs}")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Held:
    """What a process has of the machine's resources."""

    descriptors: Counter[str]
    """How many it has open of each kind."""
    threads: int
    children: int
    memory_bytes: int

    @classmethod
    def by(cls, pid: int) -> "Held":
        kinds: Counter[str] = Counter()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                kinds[re.sub(r":?\[\d+\]$|\d+", "", os.readlink(link))] += 1
        threads = len(os.listdir(f"/proc/{pid}/task"))
        return cls(kinds, threads, len(tree(pid)) - 1, status_bytes(pid, "VmRSS"))

    def more(self, before: "Held") -> list[str]:
        """What is held now that was not before; memory only if it is more than the slack."""
        found = [f"{count} more of {kind!r}" for kind, count in (self.descriptors - before.descriptors).items()]
        for what, now, then in (
            ("threads", self.threads, before.threads),
            ("children", self.children, before.children),
        ):
            if now > then:
                found.append(f"{now} {what} instead of {then}")
        if self.memory_bytes > before.memory_bytes + SLACK_BYTES:
            found.append(f"{self.memory_bytes >> 20} MiB instead of {before.memory_bytes >> 20} MiB")
        return found


def settled(node: Peer, seconds: float) -> Held:
    """What the node holds when it has had nothing to do for so long."""
    time.sleep(seconds)
    return Held.by(node.pid)


def given_back(node: Peer, before: Held) -> tuple[Held, list[str]]:
    """What the node holds, once that is no more than before or has had its time to become that; and what is more."""
    deadline = time.monotonic() + SETTLE_S
    while (more := (now := Held.by(node.pid)).more(before)) and time.monotonic() < deadline:
        time.sleep(LOOK_INTERVAL_S)
    answer = status(node, LAST_DEADLINE_S)
    more += [f"{len(answer[what])} {what} under way" for what in ("fetches", "jobs") if answer[what]]
    return now, more
