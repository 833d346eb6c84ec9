"""Answers questions from the database: each asker in turn, and at the cost of the rows that its question reads.

The cost of a question is known once it is answered, so an address may owe for it, and is refused until it has made up
for that; so are all addresses of a network together. SQLite stops a question that takes too long. While questions wait,
turns rotate among networks, then among addresses: however many one network asks, others wait for a few of them at most.
Networks share the places in line, too (`p2p.places.Seats`).
"""

import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import trio

from p2p.net.http_server.refusals import TooMuch, subject
from p2p.places import Seats
from p2p.round_robin import RoundRobin
from p2p.wire.address import prefix
from tracker.database import READERS, Database
from tracker.limits import Limits, Rates, TooLong

LOOK_EVERY = 20_000
"""The number of SQLite's instructions between two looks at the clock: a look needs Python's lock, so it may wait."""
INSTRUCTIONS_PER_ROW = 40
ROWS_PER_S = 1_200_000
"""How many rows a processor reads per second. What full-text search reads is seen in its time, not in instructions."""

T = TypeVar("T")


class Meter:
    """Measures what the questions on a connection read, and stops them after `time_limit_s` seconds."""

    def __init__(self, time_limit_s: float) -> None:
        self._time_limit_s = time_limit_s
        self.rows = 1.0
        """The cost in rows, once the question is answered or stopped."""

    @contextmanager
    def on(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Measures the body's questions. Raises TooLong."""
        looks, deadline, started = 0, time.monotonic() + self._time_limit_s, time.thread_time()

        def look() -> bool:
            nonlocal looks
            looks += 1
            return time.monotonic() > deadline

        connection.set_progress_handler(look, LOOK_EVERY)
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            raise TooLong(self._time_limit_s) from error
        finally:
            connection.set_progress_handler(None, 0)
            self.rows += max(looks * LOOK_EVERY / INSTRUCTIONS_PER_ROW, (time.thread_time() - started) * ROWS_PER_S)


class _Waiting:
    """A question in line. It is woken in its turn, or because it has lost its place."""

    def __init__(self) -> None:
        self.woken = trio.Event()
        self.has_place = True


class Reading:
    """Lends the database to questions: at most `READERS` at once, and one place in line for each that waits."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._free = READERS
        self._threads = trio.CapacityLimiter(READERS)
        self._line: RoundRobin[_Waiting] = RoundRobin()
        self._seats: Seats[_Waiting] = Seats("waiting questions", limits.waiting_reads)
        self._waiting: Counter[str] = Counter()
        self._of_addresses = Rates(limits.read_rate, limits.read_burst)
        self._of_networks = Rates(limits.network_read_rate, limits.network_read_burst)

    async def ask(self, question: Callable[[sqlite3.Connection], T], asker: str) -> T:
        """Answers a question of the host `asker`; those of the tracker itself, with no host, cost nothing.

        Raises TooMuch for an address that owes too much, or has too many questions waiting; TooLong for a question that
        is stopped; StorageError.
        """
        address, network = subject(asker), prefix(asker)
        self._admit(address, network)
        async with self._turn(asker):
            self._admit(address, network)  # others of this address have been answered meanwhile
            meter = Meter(self._limits.read_time_s)

            def read() -> T:
                with self._database.reading() as connection, meter.on(connection):
                    return question(connection)

            try:
                return await trio.to_thread.run_sync(read, limiter=self._threads)
            finally:
                if asker:
                    now = trio.current_time()
                    self._of_addresses.owe(address, now, meter.rows)
                    self._of_networks.owe(network, now, meter.rows)

    def _admit(self, address: str, network: str) -> None:
        now = trio.current_time()
        self._of_addresses.admit(address, now)
        self._of_networks.admit(network, now)

    @asynccontextmanager
    async def _turn(self, asker: str) -> AsyncIterator[None]:
        if self._free and not len(self._line):
            self._free -= 1
        else:
            await self._wait(asker)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, asker: str) -> None:
        address, question = subject(asker), _Waiting()
        if self._waiting[address] >= self._limits.waiting_reads_per_address:
            raise _too_much()
        entry = self._seats.enter(question, asker)
        if not entry.admitted:
            raise _too_much()
        if entry.displaced is not None:
            self._line.drop(entry.displaced)
            entry.displaced.has_place = False
            entry.displaced.woken.set()
        self._line.add(question, prefix(asker), address.encode())
        self._waiting[address] += 1
        try:
            await question.woken.wait()
        except trio.Cancelled:
            if not question.woken.is_set():
                self._line.drop(question)
            elif question.has_place:
                self._pass_on()
            raise
        finally:
            self._seats.leave(question)
            self._waiting -= Counter([address])
        if not question.has_place:
            raise _too_much()

    def _pass_on(self) -> None:
        if len(self._line):
            self._line.serve_next().woken.set()
        else:
            self._free += 1


def _too_much() -> TooMuch:
    return TooMuch("Too many questions are waiting already. Try again in a while.", 2)
