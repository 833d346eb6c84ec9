"""The slots of one job at a volunteer: units wait in one queue, and each slot runs them in its own guest.

A guest never runs code of different jobs, and is discarded after anything goes wrong in it. If a unit ends its guest,
the units that were queued behind it go to the next guest. A slot that is removed finishes what it has begun, and has
its core until then.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import trio

from p2p.compute.execution.kept_outputs import OutputStore
from p2p.compute.execution.runner import Runner, UnitOutcome, ending
from p2p.compute.execution.unit import Given
from p2p.compute.execution.unit_inputs import Missing, UnitInputs
from p2p.compute.volunteer.lateness import Lateness
from p2p.compute.volunteer.reports import Reports
from p2p.errors import JobError, MalformedMessage, PeerGone, ProtocolViolation, SandboxFailed, ShoalError, StorageError
from p2p.sandbox.limits import GuestEnded
from p2p.wire import work

logger = logging.getLogger(__name__)

WINDOW_PER_SLOT = 1024
MAX_QUEUED_BYTES = 256 * 1024 * 1024
AHEAD_S, MAX_UNITS_AHEAD = 0.03, 128
"""How much work a guest is given at a time if units are quick, so that it never waits for this process."""
MAX_DISK_FAILURES = 2
"""How many times in a row the disk may fail with inputs of units before this peer gives the job up."""
MAX_RUNNERS_TRIED, RUNNER_RETRY_S = 3, 1.0

Start = Callable[[], Awaitable[Runner | UnitOutcome]]
"""Starts a guest that has loaded the job, or returns why that cannot be loaded.

Raises GuestEnded, MalformedMessage, SandboxFailed.
"""


class SlotEvents(Protocol):
    """What the slots of a job tell the volunteer."""

    def slot_ended(self) -> None:
        """A slot that was removed has finished what it had begun."""

    def cap_reached(self) -> None:
        """A unit has run for as long as this volunteer lets a unit run."""


@dataclass(eq=False)
class _Slot:
    number: int
    ending: Callable[[], None] | None = None
    """Ends what the slot is running, at once."""
    stopped: str = ""
    """Why that was ended, if it was."""
    reads: Lateness | None = None
    """How late is what its units read, while it waits for that."""


class GuestSlots:
    """Once started, runs the units of one job in `count` slots, each with its own guest."""

    def __init__(
        self, count: int, reading: UnitInputs, reports: Reports, kept: OutputStore, events: SlotEvents
    ) -> None:
        self.count = count
        self._events = events
        self._stopped = ""
        """Why no units are run at all: the user wants the cores now."""
        self._reading = reading
        self._reports = reports
        self._kept = kept
        self._queue: deque[work.Unit] = deque()
        self._queue_bytes = 0
        self._changed = trio.Event()
        self._serving: set[_Slot] = set()
        self._disk_failures = 0
        self._last_unit = trio.current_time()
        self._start: Start | None = None
        self._nursery: trio.Nursery

    def __len__(self) -> int:
        """Returns how many units wait."""
        return len(self._queue)

    @property
    def cores(self) -> int:
        """How many cores the slots take, with those that were removed but have not finished yet."""
        return max(self.count, len(self._serving))

    @property
    def idle_s(self) -> float:
        """For how long the slots have had nothing to do, or how late the inputs are that they all wait for."""
        if self._start is None:
            return 0.0  # this side compiles its module, or reads its bundle
        if late := self._waiting():
            now, fetched = trio.current_time(), self._reports.fetched()
            # Nothing may have come for long before somebody asks.
            stalled_s = self._reading.starved_s if self.starved else 0.0
            return max(stalled_s, min(one.seconds(fetched, now) for one in late))
        # A unit that waits while there is no slot does not count.
        if (self._queue and self.count) or self._reports.running:
            return 0.0
        return trio.current_time() - self._last_unit

    @property
    def stopped(self) -> bool:
        """Whether no units are run at all, since `stop` and until `go_on`."""
        return bool(self._stopped)

    @property
    def starved(self) -> bool:
        """Whether all that runs waits for inputs, of which nothing has come for a while."""
        return bool(self._waiting()) and self._reading.starved

    def _waiting(self) -> list[Lateness]:
        """How late is what each slot reads, if all that run units wait for that."""
        busy = [slot.reads for slot in self._serving if slot.ending is not None]
        late = [one for one in busy if one is not None]
        return late if len(late) == len(busy) else []

    def take(self, units: Collection[work.Unit]) -> None:
        """Queues more units. Raises ProtocolViolation for more than was agreed."""
        under_way = len(self._queue) + len(self._reports.running) + len(self._reports)
        # Twice the window: the owner no longer counts a unit that it takes back, but it may be here until it has been
        # run.
        if under_way + len(units) > 2 * max(self.count, 1) * WINDOW_PER_SLOT:
            raise ProtocolViolation("more units than the window has room for")
        self._queue_bytes += sum(map(_weight, units))
        if self._queue_bytes > MAX_QUEUED_BYTES:
            raise ProtocolViolation("larger units than there is room for")
        self._queue.extend(units)
        if self._stopped:
            self.return_waiting(self._stopped)
        self._changed.set()

    def stop(self, why: str) -> None:
        """Ends all units at once, and returns those that come, until `go_on`. That is nobody's fault."""
        self._stopped = why
        for slot in self._serving:
            if slot.ending is not None:
                slot.stopped = why
                slot.ending()
        self.return_waiting(why)

    def go_on(self) -> None:
        """Runs units again after `stop`."""
        self._stopped = ""

    def return_waiting(self, why: str) -> None:
        """Returns the units that wait to the owner. That is nobody's fault."""
        waiting, self._queue, self._queue_bytes = self._queue, deque(), 0
        for unit in waiting:
            self._return(unit, why)

    def _return(self, unit: work.Unit, why: str) -> None:
        self._reading.forget(unit.id)
        self._reports.say(work.Result(unit.id, kind="paused", text=why))

    def cancel(self, ids: Collection[bytes]) -> None:
        """Drops units that have not begun."""
        unwanted = set(ids)
        waiting, self._queue = self._queue, deque()
        for unit in waiting:
            if unit.id in unwanted:
                self._queue_bytes -= _weight(unit)
                self._reading.forget(unit.id)
            else:
                self._queue.append(unit)

    def start(self, nursery: trio.Nursery, start: Start) -> None:
        """Starts the slots, in tasks of the nursery, which may raise PeerError."""
        self._nursery, self._start = nursery, start
        self._last_unit = trio.current_time()
        self._serve()

    def resize(self, count: int) -> None:
        """Sets how many slots there are. A slot that is removed finishes what it has begun."""
        self.count = count
        self._changed.set()
        self._serve()

    def _serve(self) -> None:
        there = {slot.number for slot in self._serving}
        for number in range(self.count) if self._start is not None else ():
            if number not in there:
                slot = _Slot(number)
                self._serving.add(slot)
                self._nursery.start_soon(self._serve_slot, slot)

    def hand_over(self, slot: _Slot) -> None:
        """If a slot was removed, makes it this one instead: it has just finished a unit."""
        removed = next((other for other in self._serving if other.number == self.count), None)
        if removed is not None:
            slot.number, removed.number = removed.number, slot.number

    async def _serve_slot(self, slot: _Slot) -> None:
        """Runs units, in one guest after another, for as long as the slot exists."""
        assert self._start is not None
        failures = 0
        try:
            while slot.number < self.count:
                try:
                    found = await self._start()
                except (SandboxFailed, MalformedMessage) as error:
                    failures += 1
                    if failures == MAX_RUNNERS_TRIED:
                        raise PeerGone(f"this side's sandbox failed: {error}") from error
                    await trio.sleep(RUNNER_RETRY_S)
                    continue
                except GuestEnded as ended:
                    # A job that is not even loaded in that time is not one whose unit takes long.
                    found = ending(ended) if ended.kind != "cap" else UnitOutcome([], kind="broken", text=str(ended))
                failures = 0
                if isinstance(found, UnitOutcome):
                    # Every unit of this job would fail like this: the owner is told with the next one.
                    for unit in await self._next_few(slot, 1):
                        self._reports.made_of(unit, found, 0.0)
                    continue
                try:
                    await self._use(found, slot)
                except GuestEnded as ended:
                    logger.debug("a guest ended: %s", ended)
                    if ended.kind == "cap":
                        self._events.cap_reached()
                        self.hand_over(slot)
                finally:
                    found.close()
        finally:
            self._serving.discard(slot)
            self._events.slot_ended()

    async def _use(self, runner: Runner, slot: _Slot) -> None:
        """Runs units in a guest until the slot is removed. Raises GuestEnded, PeerError."""
        running = self._reports.running
        each_s = 1.0
        while slot.number < self.count:
            await self._reports.room()
            most = max(1, min(MAX_UNITS_AHEAD, int(AHEAD_S / each_s)))
            units = await self._next_few(slot, most)
            running.update(unit.id for unit in units)
            started = trio.current_time()
            try:
                await self._run_units(runner, units, slot)
            finally:
                slot.ending, slot.stopped = None, ""
                running.difference_update(unit.id for unit in units)
                self._last_unit = trio.current_time()
            each_s = max(1e-6, (trio.current_time() - started) / max(1, len(units)))

    async def _next_few(self, slot: _Slot, most: int) -> list[work.Unit]:
        """Takes the next unit, and waiting units like it, from the queue. Returns none once the slot is removed."""
        units: list[work.Unit] = []
        while not units or (len(units) < most and self._queue and self._queue[0].results == units[0].results):
            while not self._queue:
                if slot.number >= self.count:
                    return []
                if self._changed.is_set():
                    self._changed = trio.Event()  # one event for all slots that wait
                await self._changed.wait()
            units.append(self._queue.popleft())
            self._queue_bytes -= _weight(units[-1])
        return units

    async def _run_units(self, runner: Runner, units: list[work.Unit], slot: _Slot) -> None:
        """Runs units and reports their outcomes. Raises GuestEnded, PeerError."""
        reports = self._reports
        batch: list[tuple[work.Unit, Given]] = []
        with trio.CancelScope() as scope:
            slot.ending, slot.reads = scope.cancel, Lateness(reports.fetched(), trio.current_time())
            try:
                for unit in units:
                    given = await self._given(unit)
                    if given is not None:
                        batch.append((unit, given))
            finally:
                slot.reads = None
        if slot.stopped:
            for unit in units:
                if unit.id in reports.running:  # and was not answered for yet
                    self._return(unit, slot.stopped)
            return
        slot.ending = runner.close
        if any(unit.pieces for unit in units):
            following = list(islice(self._queue, len(units) * self.count))
            self._nursery.start_soon(self._reading.look_ahead, following)
        answered = 0
        before = trio.current_time()
        large: list[tuple[work.Unit, UnitOutcome, float]] = []

        def done(unit: work.Unit, made: UnitOutcome) -> None:
            nonlocal answered, before
            answered += 1
            now = trio.current_time()
            seconds, before = now - before, now
            if sum(map(len, made.outputs)) <= work.MAX_INLINE_BYTES:
                reports.made_of(unit, made, seconds)
            else:
                large.append((unit, made, seconds))

        try:
            await runner.run(batch, self._reading.results, done)
        except GuestEnded as ended:
            if slot.stopped:
                for unit, _ in batch[answered:]:
                    self._return(unit, slot.stopped)
            elif answered < len(batch):
                reports.made_of(batch[answered][0], ending(ended), trio.current_time() - before)
                # These go back to the front, as they have already waited.
                again = [unit for unit, _ in batch[answered + 1 :]]
                reports.running.difference_update(unit.id for unit in again)
                self._queue.extendleft(reversed(again))
                self._queue_bytes += sum(map(_weight, again))
            raise
        finally:
            for unit, made, seconds in large:
                if unit.keep and await self._kept.keep(unit.id, unit.action, made.outputs):
                    reports.made_of(unit, made, seconds, kept=True)
                else:
                    await reports.large(unit, made, seconds)

    async def _given(self, unit: work.Unit) -> Given | None:
        """Returns what the unit reads. If that is unavailable, tells the owner and returns None. Raises PeerError."""
        if unit.results > len(self._reading.results):
            raise ProtocolViolation("a unit before the results that it reads")
        try:
            given = await self._reading.given(unit)
        except ProtocolViolation:
            raise
        except Missing as error:
            self._reports.say(work.Result(unit.id, kind="input", text=str(error), missing=error.units))
        except JobError as error:
            self._reports.made_of(unit, UnitOutcome([], kind="limit", text=str(error)[: work.MAX_TEXT]), 0.0)
        except ShoalError as error:
            self._disk_failures += isinstance(error, StorageError)
            if self._disk_failures > MAX_DISK_FAILURES:
                # Other volunteers may have room: better to leave than to fail every unit.
                await self._reports.refuse(str(error))
                raise PeerGone(f"this side's disk failed: {error}") from error
            self._reports.made_of(unit, UnitOutcome([], kind="input", text=str(error)[: work.MAX_TEXT]), 0.0)
        else:
            self._disk_failures = 0
            return given
        return None


def _weight(unit: work.Unit) -> int:
    """Roughly how many bytes of memory a unit takes."""
    return 500 + len(unit.inline) + 40 * len(unit.sizes) + sum(300 + len(piece.path) for piece in unit.pieces)
