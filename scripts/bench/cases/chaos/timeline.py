"""The events of a run, all drawn from its seed before it begins, and how they are played, several at once."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from random import Random

from scripts.bench.cases.chaos import commands, faults, strangers
from scripts.bench.cases.chaos.crew import Crew
from scripts.bench.support.measure import BenchError

INTERVAL_S = 5.0
FIRST_S = 1.0


@dataclass(frozen=True)
class Kind:
    """What may happen, and how long that lasts at least and at most. Of the same group, one happens at a time."""

    happen: Callable[[Crew, Random], AbstractContextManager[str]]
    lasts_s: tuple[float, float]
    group: str


def _kind(
    happen: Callable[[Crew, Random], AbstractContextManager[str]], least_s: float, most_s: float, group: str = ""
) -> Kind:
    return Kind(happen, (least_s, most_s), group or happen.__name__)


KINDS = {
    "kill": _kind(faults.killed, 1, 20),
    "stop": _kind(faults.stopped, 2, 40),
    "kill a worker": _kind(faults.worker_killed, 0, 1),
    "stop a worker": _kind(faults.worker_stopped, 2, 40),
    "full disk": _kind(faults.disk_full, 3, 20),
    "small files": _kind(faults.files_limited, 3, 20),
    "no descriptors": _kind(faults.no_descriptors, 1, 5),
    "folder gone": _kind(faults.folder_gone, 3, 20, "folder"),
    "unreadable": _kind(faults.files_unreadable, 3, 20, "folder"),
    "garbage": _kind(strangers.garbage, 0, 1),
    "datagrams": _kind(strangers.datagrams, 0, 1),
    "half-open": _kind(strangers.half_open, 5, 40),
    "control garbage": _kind(strangers.control_garbage, 1, 10),
    "get": _kind(commands.getting, 1, 30),
    "share": _kind(commands.sharing, 1, 20),
    "job": _kind(commands.job, 5, 40),
    "failing job": _kind(commands.failing_job, 5, 40),
    "killed command": _kind(commands.command_killed, 0, 1),
}


@dataclass(frozen=True)
class Event:
    """Something that happens at a time, counted from the beginning; all else about it is drawn from its own seed."""

    at_s: float
    lasts_s: float
    name: str
    seed: int


def plan(seed: int, seconds: float) -> Iterator[Event]:
    """The events of a seed: the same whenever it is given, and for longer runs only more of them. Each kind comes once
    before any comes again.
    """
    chance = Random(seed)
    at_s, deck, busy_until = FIRST_S, list[str](), dict[str, float]()
    while at_s < seconds:
        if not deck:
            deck = chance.sample(sorted(KINDS), len(KINDS))
        name = deck.pop()
        kind = KINDS[name]
        begins_s = max(at_s, busy_until.get(kind.group, 0.0))
        lasts_s = chance.uniform(*kind.lasts_s)
        busy_until[kind.group] = begins_s + lasts_s
        yield Event(begins_s, lasts_s, name, chance.getrandbits(32))
        at_s += chance.expovariate(1 / INTERVAL_S)


@dataclass
class Play:
    """A run under way. Each event has a thread of its own; `problems` are what went wrong that must not."""

    crew: Crew
    tell: Callable[[str], None]
    problems: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    _groups: dict[str, threading.Lock] = field(default_factory=dict)

    def play(self, events: list[Event], end_s: float) -> None:
        """Plays them, and returns when all are over; those under way at the end are cut short."""
        over = threading.Event()
        threads: list[threading.Thread] = []
        try:
            for event in sorted(events, key=lambda event: event.at_s):
                self._sleep_until(min(event.at_s, end_s))
                if event.at_s < end_s:
                    lock = self._groups.setdefault(KINDS[event.name].group, threading.Lock())
                    threads.append(threading.Thread(target=self._happen, args=(event, lock, over)))
                    threads[-1].start()
            self._sleep_until(end_s)
        finally:
            # Also if this run is interrupted: an event that ended later could start a peer that nobody would end.
            over.set()
            for thread in threads:
                thread.join()

    def _happen(self, event: Event, lock: threading.Lock, over: threading.Event) -> None:
        # One that took longer than planned, on a slow machine, delays the next of its group.
        with lock:
            if over.is_set():
                return
            try:
                with KINDS[event.name].happen(self.crew, Random(event.seed)) as what:
                    self._say(f"{event.name}: {what}, for {event.lasts_s:.1f} s")
                    over.wait(event.lasts_s)
            except (BenchError, OSError, ValueError, LookupError, shutil.Error) as error:
                self.problems.append(f"{event.name} at {event.at_s:.1f} s: {type(error).__name__}: {error}")
                self._say(f"{event.name}: PROBLEM: {error}")

    def _say(self, text: str) -> None:
        self.tell(f"{time.monotonic() - self.begun:7.1f} s  {text}")

    def _sleep_until(self, at_s: float) -> None:
        time.sleep(max(0.0, self.begun + at_s - time.monotonic()))
