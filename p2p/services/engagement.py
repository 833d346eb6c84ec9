"""One job of one owner at a volunteer: bundle, inputs, the slots that run its units, and what the owner is told.

    engaged --(bundle here, guests ready)--> at work --(JobEnd, silence, a fault of either side)--> over

The conversation is that of `wire.work`. Each slot runs units in a guest of its own, which has run nobody else's code
and is thrown away after anything that went wrong in it. The owner hears of this peer from the first moment on, also
while the bundle is still fetched. What was not asked for, or is more than was agreed, ends the conversation.
"""

import logging
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from p2p.core.plan import MOST_RESULT_BYTES
from p2p.errors import (
    MalformedMessage,
    NotFound,
    PeerError,
    PeerGone,
    ProtocolViolation,
    SandboxFailed,
    ShoalError,
    StorageError,
)
from p2p.ids import ShareId, short, to_text
from p2p.net.connection import Connection
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.limits import GuestEnded, Limits
from p2p.sandbox.runtimes import Runtime
from p2p.services import bundles, fetch, share
from p2p.services.bundles import Description
from p2p.services.fetch import Options
from p2p.services.inputs import FOLDER, Held
from p2p.services.pieces import Arriving
from p2p.services.progress import Progress
from p2p.services.running import MOST_GIVEN_BYTES, Made, Runner, ending, runner
from p2p.services.units import Given, action_key, given_to, pieces, result_digest
from p2p.wire import work
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint

if TYPE_CHECKING:
    from p2p.services.volunteer import Volunteering

logger = logging.getLogger(__name__)

WINDOW_PER_SLOT = 1024
AHEAD_S, MOST_AT_ONCE = 0.03, 64
"""For so long a guest is asked ahead, in units that are that quick: so that it never waits for this process."""
MOST_PENDING_BYTES = 256 * 1024 * 1024
MOST_SAID_BYTES = 512 * 1024
RESULTS_EVERY_S = 0.01
"""Results that come closer together travel together."""
HEARTBEAT_S = 1.0
SILENCE_S = 30.0
FETCH_S = 600.0
RUNNERS_TRIED, RUNNER_AGAIN_S = 3, 1.0


class Engagement:
    """One job of one owner here. `slots`: how many units of it run at once."""

    def __init__(self, volunteering: "Volunteering", connection: Connection, offer: work.JobOffer, slots: int) -> None:
        self._volunteering = volunteering
        self._local = volunteering.local
        self._connection = connection
        self.offer = offer
        self.slots = slots
        self._serving: set[int] = set()
        self._queue: deque[work.Unit] = deque()
        self._changed = trio.Event()
        self._cancelled: set[bytes] = set()
        self._running: set[bytes] = set()
        self._done: list[work.Result] = []
        self._answered = trio.Event()
        self._slots_told = True
        self._arriving = Arriving(MOST_PENDING_BYTES)
        self._results: list[bytes] = []
        self._inputs: list[Held] = []
        self._limits = Limits(
            wall_s=offer.wall_s,
            memory_bytes=offer.memory,
            output_bytes=offer.output_bytes,
            log_bytes=offer.log_bytes,
        )
        self._owner = connection.ends.peer_id
        self._folder = self._local.home / FOLDER / "jobs" / to_text(offer.job)
        self._runtime: Runtime
        self._description: Description
        self._load = b""
        self._ready = False
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Works until the job's end. Raises PeerError."""
        inputs = self._local.inputs
        for one in self.offer.inputs:
            hints = [PeerHint(Address(host, port)) for host, port in one.peers] + self._owner_hints()
            self._inputs.append(inputs.use(ShareId(one.share), hints))
        failure: PeerError | None = None
        try:
            held = [number for number, one in enumerate(self._inputs) if await inputs.holds(one.share)]
            window = self.slots * WINDOW_PER_SLOT
            await self._connection.send(work.JobAccepted(self.slots, window, tuple(held)))
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._report)
                self._nursery.start_soon(self._begin)
                await self._listen()
                self._nursery.cancel_scope.cancel()
        except* PeerError as errors:
            failure = _first(errors)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await self._clean_up()
        if failure is not None:
            raise failure

    async def _begin(self) -> None:
        """Fetches the bundle, and has the slots serve. Raises PeerError."""
        try:
            await self._fetch_bundle()
        except (NotFound, StorageError, SandboxFailed, MalformedMessage) as error:
            await self._connection.send(work.JobRefused(str(error)[:255]))
            raise PeerGone(f"its bundle is of no use: {error}") from error
        self._ready = True
        self._serve()

    # The bundle.

    async def _fetch_bundle(self) -> None:
        bundle = ShareId(self.offer.bundle)
        folder = self._folder / "bundle"
        with trio.move_on_after(FETCH_S) as patience:
            done = await fetch.fetch(self._local, Link(bundle), self._owner_hints(), Options(folder=folder), Progress())
        if patience.cancelled_caught:
            raise NotFound("its bundle could not be had")
        found = Path(done.paths[0])
        self._description, files = await trio.to_thread.run_sync(bundles.read, found)
        known = self._volunteering.runtime(self.offer)
        if known is not None:
            self._load = bundles.load_frame(to_text(self.offer.job), files, self._description)
            self._runtime = known
            return
        self._runtime = runtimes.for_module(found / bundles.MODULE)
        await compiled.ensure_compiled(compiled.default_folder(), self._runtime, logger.debug)
        if self._runtime.digest != self.offer.digest:
            raise MalformedMessage("the module is not the one that was offered")

    def _owner_hints(self) -> list[PeerHint]:
        if not self.offer.port:
            return []
        return [PeerHint(Address(self._connection.ends.remote_host, self.offer.port), self._owner)]

    async def _clean_up(self) -> None:
        for one in self._inputs:
            with suppress(ShoalError):
                await self._local.inputs.release(one)
        with suppress(NotFound):
            await share.unshare(self._local, ShareId(self.offer.bundle))
        await trio.to_thread.run_sync(shutil.rmtree, self._folder, True)

    # What the owner says.

    async def _listen(self) -> None:
        while True:
            with trio.move_on_after(SILENCE_S) as patience:
                message = await self._connection.receive()
            if patience.cancelled_caught:
                raise PeerGone(f"nothing was heard of the owner for {SILENCE_S:.0f} seconds")
            match message:
                case work.Units(units):
                    self._take(units)
                case work.Bytes():
                    self._arrived(message)
                case work.CancelUnits(ids):
                    self._cancel(ids)
                case work.Slots(count):
                    self._resize(count)
                case work.Heartbeat():
                    pass
                case work.JobEnd():
                    return
                case _:
                    raise ProtocolViolation(f"a {type(message).__name__} in the middle of a job")

    def _take(self, units: tuple[work.Unit, ...]) -> None:
        if len(self._queue) + len(units) > max(self.slots, 1) * WINDOW_PER_SLOT:
            raise ProtocolViolation("more units than the window has room for")
        self._queue.extend(units)
        self._changed.set()

    def _cancel(self, ids: tuple[bytes, ...]) -> None:
        waiting = {unit.id for unit in self._queue}
        self._cancelled.update(one for one in ids if one in waiting)

    def _arrived(self, piece: work.Bytes) -> None:
        whole = self._arriving.add(piece)
        if piece.of == action_key(self.offer.job, len(self._results)):
            if piece.total > MOST_RESULT_BYTES:
                raise ProtocolViolation("an action's result that is too large")
            if whole:
                self._results.append(self._arriving.pop(piece.of) or b"")

    def _resize(self, count: int) -> None:
        free = self._volunteering.cores - self._volunteering.busy
        self.slots = min(count, self.slots + free)
        self._changed.set()
        if self._ready:
            self._serve()
        self.tell_slots()

    def tell_slots(self) -> None:
        """The owner is to know how many there are now: none while paused, when what is here already is finished."""
        self._slots_told = False
        self._answered.set()

    # The slots.

    def _serve(self) -> None:
        for number in range(self.slots):
            if number not in self._serving:
                self._serving.add(number)
                self._nursery.start_soon(self._serve_slot, number)

    async def _serve_slot(self, number: int) -> None:
        """Runs units, in one guest after the other, for as long as the slot is the job's."""
        failures = 0
        try:
            while number < self.slots:
                try:
                    found = await runner(
                        self._local.sandbox, self._runtime, self.offer.job, self._limits, self._load, self._description
                    )
                except (SandboxFailed, MalformedMessage) as error:
                    failures += 1
                    if failures == RUNNERS_TRIED:
                        raise PeerGone(f"this side's sandbox failed: {error}") from error
                    await trio.sleep(RUNNER_AGAIN_S)
                    continue
                except GuestEnded as ended:
                    await self._answer_next(number, ending(ended))
                    continue
                failures = 0
                if isinstance(found, Made):
                    # Every unit of this job will say so: let the owner hear it with the first.
                    await self._answer_next(number, found)
                    continue
                try:
                    await self._use(found, number)
                except GuestEnded as ended:
                    logger.debug("a guest of job %s ended: %s", short(self.offer.job), ended)
                finally:
                    found.close()
        finally:
            self._serving.discard(number)

    async def _answer_next(self, number: int, made: Made) -> None:
        for unit in await self._next_few(number, 1):
            self._answer(unit, made, 0.0)

    async def _use(self, used: Runner, number: int) -> None:
        """Has it run units until the slot is taken back. Raises GuestEnded, PeerError."""
        each_s = 1.0
        while number < self.slots:
            most = max(1, min(MOST_AT_ONCE, int(AHEAD_S / each_s))) if used.asked_ahead else 1
            units = await self._next_few(number, most)
            self._running.update(unit.id for unit in units)
            started = trio.current_time()
            try:
                await self._run_units(used, units)
            finally:
                self._running.difference_update(unit.id for unit in units)
            each_s = max(1e-6, (trio.current_time() - started) / max(1, len(units)))

    async def _next_few(self, number: int, most: int) -> list[work.Unit]:
        """The next unit, and others like it that are there already; none when the slot is taken back."""
        units: list[work.Unit] = []
        while not units or (len(units) < most and self._queue and self._queue[0].results == units[0].results):
            while not self._queue:
                if number >= self.slots:
                    return []
                self._changed = trio.Event()
                await self._changed.wait()
            unit = self._queue.popleft()
            if unit.id in self._cancelled:
                self._cancelled.discard(unit.id)
                self._arriving.pop(unit.id)
            else:
                units.append(unit)
        return units

    async def _run_units(self, used: Runner, units: list[work.Unit]) -> None:
        """Runs units and answers for them. Raises GuestEnded, PeerError.

        What a guest was asked ahead of the unit that ended it is for the next guest.
        """
        batch: list[tuple[work.Unit, Given]] = []
        for unit in units:
            if unit.results > len(self._results):
                raise ProtocolViolation("a unit before the results that it reads")
            given = await self._given(unit)
            if given is not None:
                batch.append((unit, given))
        answered = 0
        before = trio.current_time()
        large: list[tuple[work.Unit, Made, float]] = []

        def done(unit: work.Unit, made: Made) -> None:
            nonlocal answered, before
            answered += 1
            now = trio.current_time()
            seconds, before = now - before, now
            if sum(map(len, made.outputs)) <= work.MAX_INLINE_BYTES:
                self._answer(unit, made, seconds)
            else:
                large.append((unit, made, seconds))

        try:
            await used.run(batch, self._results, done)
        except GuestEnded as ended:
            if answered < len(batch):
                self._answer(batch[answered][0], ending(ended), trio.current_time() - before)
                # First again: whoever waits for them has waited already.
                self._queue.extendleft(unit for unit, _ in reversed(batch[answered + 1 :]))
            raise
        finally:
            for unit, made, seconds in large:
                for piece in pieces(unit.id, b"".join(made.outputs)):
                    await self._connection.send(piece)
                self._answer(unit, made, seconds)

    async def _given(self, unit: work.Unit) -> Given | None:
        """What the unit reads; None where it could not be had, which the owner is told. Raises ProtocolViolation."""
        joined = self._arriving.pop(unit.id)
        most = min(self.offer.memory, MOST_GIVEN_BYTES)
        try:
            return await given_to(unit, unit.inline if joined is None else joined, self._input, most)
        except ProtocolViolation:
            raise
        except ShoalError as error:
            self._answer(unit, Made([], kind="input", text=str(error)[: work.MAX_TEXT]), 0.0)
            return None

    def _input(self, index: int) -> Held:
        if index >= len(self._inputs):
            raise ProtocolViolation("a unit of an input that the job does not have")
        return self._inputs[index]

    # What the owner is told.

    def _answer(self, unit: work.Unit, made: Made, seconds: float) -> None:
        log = made.log[-work.MAX_LOG :]
        if made.kind:
            result = work.Result(unit.id, seconds=seconds, kind=made.kind, text=made.text, log=log)
        else:
            self._volunteering.units_done += 1
            sizes = tuple(map(len, made.outputs))
            inline = b"".join(made.outputs) if sum(sizes) <= work.MAX_INLINE_BYTES else b""
            result = work.Result(unit.id, result_digest(made.outputs), sizes, inline, seconds, made.records, log=log)
        self._done.append(result)
        self._answered.set()

    async def _report(self) -> None:
        """Sends results as they come, a few together, and a sign of life."""
        told = trio.current_time()
        while True:
            with trio.move_on_at(told + HEARTBEAT_S):
                await self._answered.wait()
            self._answered, some, self._done = trio.Event(), self._done, []
            if not self._slots_told:
                self._slots_told = True
                await self._connection.send(work.Slots(0 if self._volunteering.paused else self.slots))
            for results in _within(some):
                await self._connection.send(work.Results(tuple(results)))
            if not some:
                await self._connection.send(work.Heartbeat(tuple(self._running)[: work.MAX_UNITS]))
            told = trio.current_time()
            if self._queue:
                await trio.sleep(RESULTS_EVERY_S)


def _within(results: list[work.Result]) -> Iterator[list[work.Result]]:
    """The results in lists of what fits into a message."""
    some: list[work.Result] = []
    size = 0
    for result in results:
        more = 200 + len(result.inline) + len(result.log) + 4 * len(result.text)
        if some and (size + more > MOST_SAID_BYTES or len(some) == work.MAX_UNITS):
            yield some
            some, size = [], 0
        some.append(result)
        size += more
    if some:
        yield some


def _first(errors: BaseExceptionGroup[PeerError]) -> PeerError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, PeerError)
    return found
