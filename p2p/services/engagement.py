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
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from p2p.core.plan import MOST_RESULT_BYTES
from p2p.errors import (
    ConfigError,
    JobError,
    MalformedMessage,
    NotFound,
    PeerError,
    PeerGone,
    ProtocolViolation,
    SandboxFailed,
    ShoalError,
    StorageError,
)
from p2p.ids import PeerId, ShareId, short, to_text
from p2p.net.connection import Connection
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.limits import GuestEnded, Limits
from p2p.sandbox.runtimes import Runtime
from p2p.services import bundles, fetch, hiring
from p2p.services.bundles import Description
from p2p.services.fetch import Options
from p2p.services.inputs import FOLDER, Held
from p2p.services.kept import Place, Reader
from p2p.services.pieces import THING_BYTES, Arriving
from p2p.services.progress import Progress
from p2p.services.running import MOST_GIVEN_BYTES, Made, Runner, ending, runner
from p2p.services.units import Given, action_key, expect, given_to, pieces, result_digest
from p2p.wire import work
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint

if TYPE_CHECKING:
    from p2p.services.volunteer import Volunteering

logger = logging.getLogger(__name__)

WINDOW_PER_SLOT = 1024
AHEAD_S, MOST_AT_ONCE = 0.03, 128
"""For so long a guest is asked ahead, in units that are that quick: so that it never waits for this process."""
MOST_PENDING_BYTES = 256 * 1024 * 1024
MOST_RESULTS_BYTES = 256 * 1024 * 1024
MOST_SAID_BYTES = 512 * 1024
MOST_UNSENT_BYTES = 16 * 1024 * 1024
RESULTS_EVERY_S = 0.02
"""Results that come closer together travel together."""
HEARTBEAT_S = 1.0
SILENCE_S = 30.0
FETCH_S, BUNDLE_PATIENCE_S = 600.0, 30.0
DISK_FAILURES = 2
"""That inputs of units may meet, one after the other."""
RUNNERS_TRIED, RUNNER_AGAIN_S = 3, 1.0


def limits_of(offer: work.JobOffer) -> Limits:
    """What each unit of a job may take. Raises ValueError for what no sandbox would grant."""
    return Limits(
        wall_s=offer.wall_s,
        memory_bytes=offer.memory,
        output_bytes=offer.output_bytes,
        log_bytes=offer.log_bytes,
    )


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
        self._queue_bytes = 0
        self._changed = trio.Event()
        self._running: set[bytes] = set()
        self._done: list[work.Result] = []
        self._answered = trio.Event()
        self._unsent_bytes = 0
        self._sent = trio.Event()
        self._slots_told = True
        self._arriving = Arriving(MOST_PENDING_BYTES)
        self._reads: dict[bytes, dict[int, Place]] = {}
        self._reads_known = 0
        self.kept = volunteering.kept_for(offer.job, connection.ends.peer_id, offer.token)
        self._reader = Reader(self._local.dialer, offer.job, offer.token)
        self._ended_well = False
        self.over = trio.Event()
        self._disk_failures = 0
        self._results: list[bytes] = []
        self._results_bytes = 0
        self._inputs: list[Held] = []
        self._limits = limits_of(offer)
        self.owner = connection.ends.peer_id
        self._folder = self._local.home / FOLDER / "jobs" / to_text(offer.job)
        self._runtime: Runtime
        self._description: Description
        self._load = b""
        self._ready = False
        self._nursery: trio.Nursery

    def give_way(self) -> None:
        """Ends the conversation; `over` is set once nothing of it is left."""
        self._connection.close()

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
                self._nursery.start_soon(self._ask_for_calls)
                await self._listen()
                self._nursery.cancel_scope.cancel()
        except* PeerError as errors:
            failure = _first(errors)
        except* StorageError as errors:
            logger.warning("job %s: %s", short(self.offer.job), errors.exceptions[0])
            failure = PeerGone("this side's disk failed")
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await self._clean_up()
        if failure is not None:
            raise failure

    async def _begin(self) -> None:
        """Fetches the bundle, and has the slots serve. Raises PeerError."""
        try:
            await self._fetch_bundle()
        except (NotFound, StorageError, SandboxFailed, MalformedMessage, ConfigError) as error:
            await self._connection.send(work.JobRefused(str(error)[:255]))
            raise PeerGone(f"its bundle is of no use: {error}") from error
        self._ready = True
        self._serve()

    # The bundle.

    async def _fetch_bundle(self) -> None:
        local, bundle = self._local, ShareId(self.offer.bundle)
        options = Options(folder=self._folder / "bundle", wait_s=BUNDLE_PATIENCE_S, limits=bundles.LIMITS)
        with trio.move_on_after(FETCH_S) as patience:
            while bundle in local.fetching:
                await local.news.after(local.news.count)  # for another owner of the same job
            done = await fetch.fetch(local, Link(bundle), self._owner_hints(), options, Progress())
        if patience.cancelled_caught:
            raise NotFound("its bundle could not be had")
        found = Path(done.paths[0])
        self._description, files = await trio.to_thread.run_sync(bundles.read, found)
        if (bundles.MODULE in files) != (self.offer.runtime == runtimes.MODULE):
            raise MalformedMessage(f"not a bundle for the runtime {self.offer.runtime}")
        known = self._volunteering.runtime(self.offer)
        if known is not None:
            self._load = bundles.load_frame(to_text(self.offer.job), files, self._description)
            self._runtime = known
            return
        self._runtime = runtimes.for_module(found / bundles.MODULE)
        await compiled.ensure_compiled(compiled.default_folder(), self._runtime, logger.debug)
        if self._runtime.digest != self.offer.digest:
            raise MalformedMessage("the module is not the one that was offered")

    async def _ask_for_calls(self) -> None:
        shares = [ShareId(self.offer.bundle), *(one.share for one in self._inputs)]
        await hiring.ask_for_calls(self._local, self._connection, shares, at_once=not self.offer.port)

    def _owner_hints(self) -> list[PeerHint]:
        if not self.offer.port:
            return []
        return [PeerHint(Address(self._connection.ends.remote_host, self.offer.port), self.owner)]

    async def _clean_up(self) -> None:
        self._reader.close()
        if self._ended_well:
            await self.kept.clear()
        else:
            # The owner may come back, and go on.
            await self._volunteering.linger(self.offer.job, self.owner, self.kept)
        await self._local.inputs.release(*self._inputs)
        with suppress(StorageError):
            drop = self._local.records.drop
            await trio.to_thread.run_sync(drop, ShareId(self.offer.bundle), self._folder / "bundle")
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
                case work.Reads(unit, kept, holders):
                    self._take_reads(unit, kept, holders)
                case work.Bytes():
                    self._arrived(message)
                case work.CancelUnits(ids):
                    self._cancel(ids)
                case work.Slots(count):
                    self._resize(count)
                case work.Heartbeat():
                    pass
                case work.JobEnd():
                    self._ended_well = True
                    return
                case _:
                    raise ProtocolViolation(f"a {type(message).__name__} in the middle of a job")

    def _take(self, units: tuple[work.Unit, ...]) -> None:
        under_way = len(self._queue) + len(self._running) + len(self._done)
        if under_way + len(units) > max(self.slots, 1) * WINDOW_PER_SLOT:
            raise ProtocolViolation("more units than the window has room for")
        self._queue_bytes += sum(map(_weight, units))
        if self._queue_bytes > MOST_PENDING_BYTES:
            raise ProtocolViolation("larger units than there is room for")
        self._queue.extend(units)
        self._changed.set()

    def _take_reads(self, unit: bytes, kept: tuple[work.KeptOutput, ...], holders: tuple[work.Holder, ...]) -> None:
        self._reads_known += len(kept)
        if not kept or self._reads_known > work.MAX_READS:
            raise ProtocolViolation("nothing to read, or more than a unit may")
        places = self._reads.setdefault(unit, {})
        for one in kept:
            if one.holder >= len(holders):
                raise ProtocolViolation("an output that nobody keeps")
            holder = holders[one.holder]
            peer, address = PeerId(holder.peer), Address(holder.host, holder.port)
            places[one.place] = Place(one.unit, one.digest, one.number, peer, address)

    def _cancel(self, ids: tuple[bytes, ...]) -> None:
        unwanted = set(ids)
        waiting, self._queue = self._queue, deque()
        for unit in waiting:
            if unit.id not in unwanted:
                self._queue.append(unit)
                continue
            self._queue_bytes -= _weight(unit)
            self._arriving.pop(unit.id)
            self._pop_reads(unit.id)

    def _arrived(self, piece: work.Bytes) -> None:
        whole = self._arriving.add(piece)
        if piece.of == action_key(self.offer.job, len(self._results)):
            if piece.total > MOST_RESULT_BYTES:
                raise ProtocolViolation("an action's result that is too large")
            if whole:
                self._results.append(self._arriving.pop(piece.of) or b"")
                self._results_bytes += THING_BYTES + piece.total
                if self._results_bytes > MOST_RESULTS_BYTES:
                    raise ProtocolViolation("more results of actions than there is room for")
                self._nursery.start_soon(self.kept.forget_before, len(self._results))

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
            while self._unsent_bytes > MOST_UNSENT_BYTES:
                await self._sent.wait()  # an owner that does not listen gets no more done
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
                if self._changed.is_set():
                    self._changed = trio.Event()  # one for all slots that wait
                await self._changed.wait()
            units.append(self._queue.popleft())
            self._queue_bytes -= _weight(units[-1])
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
        if any(unit.pieces for unit in units):
            self._nursery.start_soon(self._look_ahead, len(units) * self.slots)
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
                again = [unit for unit, _ in batch[answered + 1 :]]
                self._queue.extendleft(reversed(again))
                self._queue_bytes += sum(map(_weight, again))
            raise
        finally:
            for unit, made, seconds in large:
                if unit.keep and await self.kept.keep(unit.id, unit.action, made.outputs):
                    self._answer(unit, made, seconds, kept=True)
                    continue
                for piece in pieces(unit.id, b"".join(made.outputs)):
                    await self._connection.send(piece)
                self._answer(unit, made, seconds)

    async def _given(self, unit: work.Unit) -> Given | None:
        """What the unit reads; None where it could not be had, which the owner is told. Raises ProtocolViolation."""
        joined, places = self._arriving.pop(unit.id), self._pop_reads(unit.id)
        most = min(self.offer.memory, MOST_GIVEN_BYTES)
        try:
            kept, missing = await self._read_kept(unit, places, most) if places else ({}, [])
            if missing:
                why = "outputs of other units are not to be had"
                self._tell(work.Result(unit.id, kind="input", text=why, missing=tuple(missing)))
                return None
            given = await given_to(unit, unit.inline if joined is None else joined, kept, self._input, most)
            self._disk_failures = 0
            return given
        except ProtocolViolation:
            raise
        except JobError as error:
            self._answer(unit, Made([], kind="limit", text=str(error)[: work.MAX_TEXT]), 0.0)
            return None
        except ShoalError as error:
            if isinstance(error, StorageError):
                self._disk_failures += 1
            if self._disk_failures > DISK_FAILURES:
                # Others may have room: better gone than the one at whom every unit fails.
                await self._connection.send(work.JobRefused(str(error)[:255]))
                raise PeerGone("this side's disk failed") from error
            self._answer(unit, Made([], kind="input", text=str(error)[: work.MAX_TEXT]), 0.0)
            return None

    def _pop_reads(self, unit: bytes) -> dict[int, Place]:
        places = self._reads.pop(unit, {})
        self._reads_known -= len(places)
        return places

    async def _read_kept(
        self, unit: work.Unit, places: dict[int, Place], most: int
    ) -> tuple[dict[int, bytes], list[bytes]]:
        """What is kept here and elsewhere of what the unit reads, by place; and the units whose outputs are missing."""
        found: dict[int, bytes] = {}
        missing: dict[bytes, None] = {}
        if any(place >= len(unit.sizes) for place in places):
            raise ProtocolViolation("an output that the unit does not read")
        if sum(unit.sizes) > most:
            raise JobError(f"What the unit reads has {sum(unit.sizes)} bytes; {most} are allowed.")

        async def read(peer: PeerId) -> None:
            for number, place in places.items():
                if place.peer != peer or len(missing) >= work.MAX_MISSING:
                    continue
                try:
                    if peer == self._local.peer_id:
                        found[number] = await self.kept.get(place.unit, place.number)
                    else:
                        found[number] = await self._reader.get(place, unit.sizes[number])
                except PeerError as error:
                    logger.debug("an output kept by %s: %s", short(peer), error)
                    missing[place.unit] = None

        async with trio.open_nursery() as nursery:
            for peer in {place.peer for place in places.values()}:
                nursery.start_soon(read, peer)
        return found, list(missing)

    async def _look_ahead(self, count: int) -> None:
        """Has fetched what the next units read of inputs, while those before them run."""
        most = min(self.offer.memory, MOST_GIVEN_BYTES)
        for unit in list(islice(self._queue, count)):
            # What cannot be had is said when the unit's turn comes.
            with suppress(ShoalError):
                await expect(unit, self._input, most)

    def _input(self, index: int) -> Held:
        if index >= len(self._inputs):
            raise ProtocolViolation("a unit of an input that the job does not have")
        return self._inputs[index]

    # What the owner is told.

    def _answer(self, unit: work.Unit, made: Made, seconds: float, *, kept: bool = False) -> None:
        log = made.log[-work.MAX_LOG :]
        if made.kind:
            result = work.Result(unit.id, seconds=seconds, kind=made.kind, text=made.text, log=log)
        else:
            self._volunteering.units_done += 1
            sizes = tuple(map(len, made.outputs))
            inline = b"".join(made.outputs) if sum(sizes) <= work.MAX_INLINE_BYTES else b""
            digest = result_digest(made.outputs)
            result = work.Result(unit.id, digest, sizes, inline, seconds, made.records, kept=kept, log=log)
        self._tell(result)

    def _tell(self, result: work.Result) -> None:
        self._done.append(result)
        self._unsent_bytes += _size(result)
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
            self._unsent_bytes -= sum(map(_size, some))
            self._sent.set()
            self._sent = trio.Event()
            if not some:
                await self._connection.send(work.Heartbeat(tuple(self._running)[: work.MAX_UNITS]))
            told = trio.current_time()
            if self._queue:
                await trio.sleep(RESULTS_EVERY_S)


def _weight(unit: work.Unit) -> int:
    """Bytes of memory that a unit takes, about."""
    return 500 + len(unit.inline) + 40 * len(unit.sizes) + sum(300 + len(piece.path) for piece in unit.pieces)


def _size(result: work.Result) -> int:
    """Bytes of a message that a result takes, about."""
    listed = 5 * len(result.sizes) + 36 * len(result.missing)
    return 200 + listed + len(result.inline) + len(result.log) + 4 * len(result.text)


def _within(results: list[work.Result]) -> Iterator[list[work.Result]]:
    """The results in lists of what fits into a message."""
    some: list[work.Result] = []
    size = 0
    for result in results:
        more = _size(result)
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
