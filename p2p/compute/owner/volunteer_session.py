"""The owner's side of the conversation with a volunteer that has taken a job."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import trio

from p2p.bucket import TokenBucket
from p2p.compute.execution.reassembly import SpooledReassembly
from p2p.concurrency.walls import Wall
from p2p.core.compute.attempts import Work
from p2p.errors import PeerError, PeerGone, ProtocolViolation
from p2p.net.connection import Connection
from p2p.wire import work
from p2p.wire.address import is_link_local
from p2p.wire.messages import DialMe

SESSION = Wall("session with a volunteer")

HEARTBEAT_INTERVAL_S = 1.0
ALL_SLOTS = 4096
"""The number of slots to ask for if all slots of a volunteer are wanted, including any that it gives later."""
WORDS_PER_S, MAX_WORDS = 20.0, 200.0
"""The heartbeats and similar messages that a volunteer may send, per second and at once; more of them are delayed."""
CALLS_PER_S, CALLS_BURST = 1.0, 70.0
"""How often a volunteer may ask to be called about the shares of the job, per second and at once."""

Said = work.Results | work.Replaced | work.Heartbeat | work.Slots | DialMe
Heard = Callable[[Said, SpooledReassembly], Awaitable[None]]


class LeftOut(PeerGone):
    """The owner has left the volunteer out of its job."""


class Messages(Protocol):
    """Makes the messages that bring units to a volunteer that already has the results of `sent` actions.

    Calls `lost` for a unit that cannot be sent, because what it reads is lost.
    """

    async def __call__(
        self, units: Sequence[Work], sent: int, lost: Callable[[Work], None], *, keep: bool
    ) -> list[Any]: ...


class VolunteerSession:
    """Sends units to one volunteer that is at work, and receives what it reports.

    `messages` makes the messages that bring units to the volunteer.
    """

    def __init__(
        self,
        connection: Connection,
        accepted: work.JobAccepted,
        messages: Messages,
        lost: Callable[[Work], None],
        spool: SpooledReassembly,
    ) -> None:
        self.connection = connection
        self.slots = self.offered = self.wanted = accepted.slots
        """How many slots the volunteer gives now, the most that it ever gave, and how many it was asked for."""
        self.held = frozenset(accepted.held)
        """The inputs that the volunteer has completely, by number."""
        self.unit_s = accepted.unit_s
        """For how long the volunteer lets a unit run; 0 if it has not said so."""
        address = connection.ends.claimed_address
        told = connection.ends.dialed and address is not None and not is_link_local(address.host)
        self.address = address if told else None
        """Where others can dial the volunteer. It keeps outputs only if they can."""
        self._messages = messages
        self._lost = lost
        self._spool = spool
        self._todo: dict[bytes, Work] = {}
        self._outbox: list[Any] = []
        self._wake = trio.Event()
        self._dropped = ""
        self._sent = 0
        self._given = self._answered = 0
        """The number of units that the volunteer was given, and of results that it sent."""
        self.starved = False
        """Whether the volunteer says that all it runs waits for inputs, of which nothing comes."""
        self.bytes_fetched = 0
        """How many bytes of what its units read the volunteer says it has fetched, from any peer."""
        self._came = 0
        """How many messages have arrived."""
        self._dealing = self._replaced = False
        self._words = TokenBucket(WORDS_PER_S, MAX_WORDS, trio.current_time())
        self._calls = TokenBucket(CALLS_PER_S, CALLS_BURST, trio.current_time())

    @property
    def bytes_moved(self) -> int:
        """The bytes sent to the volunteer, those received from it, and those that it fetched."""
        return self.connection.bytes_in + self.connection.bytes_out + self.bytes_fetched

    def units(self, units: Sequence[Work]) -> None:
        """Queues units for the volunteer."""
        self._todo.update((one.unit, one) for one in units)
        self._given += len(units)
        self._wake.set()

    def cancel(self, units: Sequence[bytes]) -> None:
        """Takes back units that are no longer needed."""
        sent = [unit for unit in units if self._todo.pop(unit, None) is None]
        for at in range(0, len(sent), work.MAX_UNITS):
            self._outbox.append(work.CancelUnits(tuple(sent[at : at + work.MAX_UNITS])))
        self._wake.set()

    def use(self, slots: int) -> None:
        """Asks the volunteer for at most `slots` slots. If that is the most it ever gave, asks for later ones too."""
        if slots != self.wanted:
            self.wanted = slots
            self._outbox.append(work.Slots(slots if slots < self.offered else ALL_SLOTS))
            self._wake.set()

    def drop(self, reason: str) -> None:
        """Ends the conversation for this reason."""
        self._dropped = reason
        self.connection.close()

    async def end(self, job: bytes) -> None:
        """Tells the volunteer that the job is over."""
        with suppress(PeerError), trio.move_on_after(1, shield=True):
            await self.connection.send(work.JobEnd(job))

    async def run(self, heard: Heard) -> None:
        """Holds the conversation until it ends. Raises PeerError, StorageError."""
        failure: PeerError | None = None
        with SESSION.around():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell)
                nursery.start_soon(self._beat)
                nursery.start_soon(self._notice, heard)
                try:
                    await self._listen(heard)
                except PeerError as error:
                    failure = error
                nursery.cancel_scope.cancel()
        if self._dropped:
            raise LeftOut(self._dropped) from failure
        if failure is not None:
            raise failure

    async def _tell(self) -> None:
        with suppress(PeerError):
            while True:
                said, self._outbox = self._outbox, []
                todo, self._todo = self._todo, {}
                if todo:
                    keep = self.address is not None
                    messages = await self._messages(list(todo.values()), self._sent, self._lost, keep=keep)
                    results = (
                        unit.results for batch in messages if isinstance(batch, work.Units) for unit in batch.units
                    )
                    self._sent = max(results, default=self._sent)
                    said += messages
                for message in said:
                    await self.connection.send(message)
                if not self._todo and not self._outbox:
                    self._wake = trio.Event()
                    await self._wake.wait()
        self.connection.close()

    async def _beat(self) -> None:
        """Sends heartbeats, even while messages are being made, which may take time."""
        with suppress(PeerError):
            while True:
                await self.connection.send(work.Heartbeat())
                self.connection.use.told_to_wait()
                await trio.sleep(HEARTBEAT_INTERVAL_S)
        self.connection.close()

    async def _notice(self, heard: Heard) -> None:
        """Treats two things as signs of life: a message still arriving over a slow connection, and one that this side
        is dealing with.

        Complete messages do not count here: some mean nothing, however many there are.
        """
        while True:
            came, bytes_in = self._came, self.connection.bytes_in
            await trio.sleep(HEARTBEAT_INTERVAL_S)
            if came == self._came and (bytes_in != self.connection.bytes_in or self._dealing):
                await heard(work.Heartbeat(), self._spool)

    async def _listen(self, heard: Heard) -> None:
        before = trio.current_time()
        while True:
            message = await self.connection.receive()
            self._came += 1
            now = trio.current_time()
            self._count_use(now - before)
            before = now
            match message:
                case work.Bytes():
                    with self._dealt_with():
                        await self._spool.add(message)
                    await heard(work.Heartbeat(), self._spool)
                case work.Slots() | work.Heartbeat():
                    if isinstance(message, work.Slots):
                        self._gives(message.count)
                    else:
                        self._fetched(message.fetched)
                        self.starved = message.starved
                    await heard(message, self._spool)
                    await trio.sleep(self._words.take(1, trio.current_time()))
                case work.Results(results):
                    self._fetched(message.fetched)
                    self.starved = False
                    self._answered += len(results)
                    if self._answered > self._given:
                        raise ProtocolViolation("more results than units")
                    with self._dealt_with():
                        await heard(message, self._spool)
                case work.Replaced():
                    if self._replaced:
                        raise ProtocolViolation("what is not UTF-8 is told once")
                    self._replaced = True
                    await heard(message, self._spool)
                case DialMe():
                    if self._calls.try_take(1, trio.current_time()):
                        await heard(message, self._spool)
                case work.JobRefused(reason):
                    raise PeerGone(reason)
                case _:
                    raise ProtocolViolation(f"a {type(message).__name__} in the middle of a job")

    def _count_use(self, seconds: float) -> None:
        """Counts the time since the last message as work if the volunteer has units; otherwise it waits for some."""
        if self._given > self._answered:
            self.connection.use.worked(min(seconds, HEARTBEAT_INTERVAL_S))
        self.connection.use.heard()

    def _gives(self, slots: int) -> None:
        """Updates the number of slots.

        If it exceeds all earlier ones (other jobs have left), all are wanted, if all were before.
        """
        if slots > self.offered:
            if self.wanted == self.offered:
                self.wanted = slots
            self.offered = slots
        self.slots = slots

    @contextmanager
    def _dealt_with(self) -> Iterator[None]:
        self._dealing = True
        try:
            yield
        finally:
            self._dealing = False

    def _fetched(self, count: int) -> None:
        self.bytes_fetched = max(self.bytes_fetched, count)
