"""Reports to the owner of a job, as its volunteer: results in small batches, the number of slots, signs of life."""

from collections.abc import Callable

import msgspec
import trio

from p2p.compute.execution.runner import UnitOutcome
from p2p.compute.execution.unit import MAX_BATCH_BYTES, pieces, result_digest
from p2p.core.packing import packed
from p2p.net.connection import Connection
from p2p.wire import work

MAX_UNSENT_BYTES = 16 * 1024 * 1024
RESULTS_INTERVAL_S = 0.02
"""Results that are closer together than this are sent together."""
HEARTBEAT_INTERVAL_S = 1.0


class Reports:
    """Sends the reports about one job to its owner.

    `slots` returns how many slots the job has now, `fetched` returns how many bytes have arrived for it, and `starved`
    returns whether all that runs waits for inputs.
    """

    def __init__(
        self,
        connection: Connection,
        slots: Callable[[], int],
        fetched: Callable[[], int],
        starved: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._slots = slots
        self.fetched = fetched
        self._starved = starved
        self._done: list[work.Result] = []
        self._news = trio.Event()
        self._unsent_bytes = 0
        self._sent = trio.Event()
        self._slots_told = True
        self._replaced: work.Replaced | None = None
        self._replaced_told = False
        self.running: set[bytes] = set()
        """The units that are running."""
        self.made = 0
        """How many results there are so far."""

    def __len__(self) -> int:
        """Returns how many results wait to be sent."""
        return len(self._done)

    def made_of(self, unit: work.Unit, made: UnitOutcome, seconds: float, *, kept: bool = False) -> None:
        """Reports the outcome of a unit.

        Small outputs are sent with it; others were sent before it, or are `kept` here.
        """
        log = made.log[-work.MAX_LOG :]
        if made.kind:
            self.say(work.Result(unit.id, seconds=seconds, kind=made.kind, text=made.text, log=log))
            return
        self.made += 1
        if made.replaced[0] and self._replaced is None:
            self._replaced = work.Replaced(unit.id, *made.replaced)
        sizes = tuple(map(len, made.outputs))
        inline = b"".join(made.outputs) if sum(sizes) <= work.MAX_INLINE_BYTES else b""
        digest = result_digest(made.outputs)
        skipped, reports = made.skips
        text = msgspec.json.encode(reports).decode() if reports else ""
        self.say(
            work.Result(
                unit.id, digest, sizes, inline, seconds, made.records, text=text, kept=kept, log=log, skipped=skipped
            )
        )

    async def large(self, unit: work.Unit, made: UnitOutcome, seconds: float) -> None:
        """Sends outputs that are too large to go with their result, then the result. Raises PeerError."""
        for piece in pieces(unit.id, b"".join(made.outputs)):
            await self._connection.send(piece)
        self.made_of(unit, made, seconds)

    async def refuse(self, reason: str) -> None:
        """Tells the owner why this peer can no longer work. Raises PeerError."""
        await self._connection.send(work.JobRefused(reason[:255]))

    def say(self, result: work.Result) -> None:
        """Queues the result for sending; its unit is no longer running."""
        self.running.discard(result.id)
        self._done.append(result)
        self._unsent_bytes += _size(result)
        self._news.set()

    def say_slots(self) -> None:
        """Queues the current number of slots for sending to the owner."""
        self._slots_told = False
        self._news.set()

    async def room(self) -> None:
        """Waits until the owner reads again, so that no more work is done for it before that."""
        while self._unsent_bytes > MAX_UNSENT_BYTES:
            await self._sent.wait()

    async def run(self, busy: Callable[[], object]) -> None:
        """Sends what is queued, until cancelled. While `busy`, more results are about to come. Raises PeerError."""
        connection = self._connection
        told = trio.current_time()
        while True:
            with trio.move_on_at(told + HEARTBEAT_INTERVAL_S):
                await self._news.wait()
            self._news, some, self._done = trio.Event(), self._done, []
            if not self._slots_told:
                self._slots_told = True
                await connection.send(work.Slots(self._slots()))
            if self._replaced is not None and not self._replaced_told:
                self._replaced_told = True
                await connection.send(self._replaced)
            for results in packed(some, _size, MAX_BATCH_BYTES, work.MAX_UNITS):
                await connection.send(work.Results(tuple(results), self.fetched()))
            self._unsent_bytes -= sum(map(_size, some))
            self._sent.set()
            self._sent = trio.Event()
            if not some:
                running = tuple(self.running)[: work.MAX_UNITS]
                await connection.send(work.Heartbeat(running, self.fetched(), self._starved()))
                connection.use.told_to_wait()
            before, told = told, trio.current_time()
            if some or self.running:
                connection.use.worked(told - before)
            if busy():
                await trio.sleep(RESULTS_INTERVAL_S)


def _size(result: work.Result) -> int:
    """Roughly how many bytes a result takes in a message."""
    listed = 5 * len(result.sizes) + 36 * len(result.missing)
    return 200 + listed + len(result.inline) + len(result.log) + 4 * len(result.text)
