"""The only writer to the store: processes waiting announces together.

One large transaction costs little more than a small one. Blocking work runs in a thread of its own; a task that waits
for an answer gets it once the transaction is committed. Networks share the places of announces that wait
(`p2p.places.Seats`), and take turns.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from p2p.concurrency.walls import Wall
from p2p.errors import InternalError, StorageError
from p2p.net.http_server.refusals import TooMuch
from p2p.places import Seats, network_of
from p2p.round_robin import RoundRobin
from tracker.changes import Outcome, Said
from tracker.store import Store

WRITING = Wall("batch of announces")

MAX_BATCH = 64
MAX_BATCH_CHANGES = 1000

T = TypeVar("T")


class _Answer:
    """The answer to one announce, which is set once and awaited by one task."""

    def __init__(self, said: Said) -> None:
        self.said = said
        self.changes = len(said.announce.add) + len(said.announce.provide) + len(said.announce.drop)
        self.done = trio.Event()
        self.outcome: Outcome | StorageError | InternalError | TooMuch | None = None


class Writer:
    """Processes announces and makes all other changes to the store, one at a time."""

    def __init__(self, store: Store, clock: Callable[[], float], most_waiting: int) -> None:
        self._store = store
        self._clock = clock
        self._turn = trio.Lock()
        self._thread = trio.CapacityLimiter(1)
        self._seats: Seats[_Answer] = Seats("waiting announces", most_waiting)
        self._line: RoundRobin[_Answer] = RoundRobin()
        self._somebody = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Processes announces until cancelled."""
        task_status.started()
        while True:
            await self._somebody.wait()
            await self._take_in(self._next_batch())
            if not len(self._line):
                self._somebody = trio.Event()

    def _next_batch(self) -> list[_Answer]:
        batch: list[_Answer] = []
        changes = 0
        while len(self._line) and len(batch) < MAX_BATCH and changes < MAX_BATCH_CHANGES:
            batch.append(self._line.serve_next())
            self._seats.leave(batch[-1])
            changes += batch[-1].changes
        return batch

    async def take_in(self, said: Said) -> Outcome:
        """Processes an announce; returns the outcome. Raises StorageError, and TooMuch if too many wait."""
        answer = _Answer(said)
        entry = self._seats.enter(answer, said.host)
        if not entry.admitted:
            raise _too_busy()
        if entry.displaced is not None:
            self._line.drop(entry.displaced)
            entry.displaced.outcome = _too_busy()
            entry.displaced.done.set()
        self._line.add(answer, network_of(said.host), said.peer)
        self._somebody.set()
        await answer.done.wait()
        assert answer.outcome is not None
        if isinstance(answer.outcome, StorageError | InternalError | TooMuch):
            raise answer.outcome
        return answer.outcome

    async def change(self, change: Callable[[Store], T]) -> T:
        """Makes another change to the store, in turn with the announces. Raises StorageError."""
        async with self._turn:
            return await trio.to_thread.run_sync(change, self._store, limiter=self._thread)

    async def _take_in(self, batch: list[_Answer]) -> None:
        said = [answer.said for answer in batch]
        now = self._clock()
        try:
            with WRITING.around():
                outcomes = await self.change(lambda store: store.take_in(said, now))
        except (StorageError, InternalError) as error:
            for answer in batch:
                answer.outcome = error
        else:
            for answer, outcome in zip(batch, outcomes, strict=True):
                answer.outcome = outcome
        for answer in batch:
            answer.done.set()


def _too_busy() -> TooMuch:
    return TooMuch("This tracker is too busy. Try again in a while.", 10)
