"""Volunteering: this peer runs units of other people's jobs in its sandbox, one guest for each offered core.

One conversation is one job of one owner (`wire.work`). Its guests have run nobody else's code, are thrown away at its
end, and after anything that went wrong in them. Nothing of a job stays but the inputs, which later jobs may need, up to
a bound.
"""

import logging
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

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
from p2p.ids import H, ShareId, short, to_text
from p2p.net.connection import Connection
from p2p.sandbox import compiled
from p2p.sandbox.guest import Guest
from p2p.sandbox.limits import GuestEnded, Limits
from p2p.sandbox.runtimes import Runtime
from p2p.services import bundles, fetch, share
from p2p.services.fetch import Options
from p2p.services.inputs import FOLDER, InputFiles, Inputs
from p2p.services.local import Local
from p2p.services.progress import Progress
from p2p.services.units import (
    Given,
    Reply,
    action_key,
    given_to,
    kind_of,
    report_of,
    result_digest,
    unit_frame,
    unit_seed,
)
from p2p.wire import guest as frames
from p2p.wire import work
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint
from p2p.wire.tracker import Capacity

logger = logging.getLogger(__name__)

WINDOW_PER_SLOT = 1024
AHEAD_S, MOST_AT_ONCE = 0.03, 64
"""For so long a guest is asked ahead, in units that are that quick: so that it never waits for this process."""
MOST_LOG_BYTES = 16384
MOST_PENDING_BYTES = 256 * 1024 * 1024
MOST_JOBS = 8
MOST_RESULT_BYTES = 8 * 1024 * 1024
RESULTS_EVERY_S = 0.01
HEARTBEAT_S = 2.0
SILENCE_S = 30.0
FETCH_S = 600.0


class Volunteering:
    """What this peer offers, and to how many jobs it is given."""

    def __init__(self, local: Local, runtimes: list[Runtime], cores: int, memory: int, cache_bytes: int) -> None:
        self.local = local
        self.runtimes = runtimes
        self.cores = cores
        self.memory = memory
        self.inputs = Inputs(local, cache_bytes)
        self.paused = False
        self.jobs: dict[bytes, _Job] = {}
        self.units_done = 0

    @property
    def busy(self) -> int:
        """Cores that are given to jobs."""
        return sum(job.slots for job in self.jobs.values())

    async def prepare(self) -> None:
        """Has the plain runtime compiled, and a spare guest of it ready."""
        try:
            await compiled.ensure_compiled(compiled.default_folder(), self.runtimes[0], logger.info)
            await self.local.sandbox.prepare(self.runtimes[0])
        except SandboxFailed as error:
            logger.warning("this peer cannot volunteer: %s", error)
        self.local.news.ring()

    def capacity(self) -> Capacity | None:
        """What others are told of; None while paused."""
        cache = compiled.default_folder()
        ready = tuple(runtime.name for runtime in self.runtimes if compiled.is_compiled(cache, runtime))
        if self.paused or not ready:
            return None
        return Capacity(ready, self.cores, self.memory, load=self.busy / self.cores)

    def refusal(self, offer: work.JobOffer) -> str:
        """Why not; empty for yes."""
        if self.paused:
            return "paused by its user"
        if offer.job in self.jobs:
            return "at work on this job over another connection"
        if len(self.jobs) >= MOST_JOBS or self.busy >= self.cores:
            return f"all {self.cores} cores are busy"
        if offer.memory > self.memory:
            return f"{offer.memory} bytes of memory a unit are asked for, {self.memory} offered"
        runtime = self.runtime(offer)
        if runtime is None:
            return f"no runtime {offer.runtime} of that build"
        return (
            "" if compiled.is_compiled(compiled.default_folder(), runtime) else f"{offer.runtime} is not compiled here"
        )

    def runtime(self, offer: work.JobOffer) -> Runtime | None:
        """The runtime that is asked for, if this peer has that very build."""
        for runtime in self.runtimes:
            if runtime.name == offer.runtime and runtime.digest == offer.digest:
                return runtime
        return None

    async def converse(self, connection: Connection, offer: work.JobOffer) -> None:
        """Answers an offer, and works on the job until its end. Raises PeerError."""
        if reason := self.refusal(offer):
            await connection.send(work.JobRefused(reason))
            return
        job = _Job(self, connection, offer)
        with self.taking(job):
            await job.run()

    @contextmanager
    def taking(self, job: "_Job") -> Iterator[None]:
        self.jobs[job.offer.job] = job
        try:
            yield
        finally:
            del self.jobs[job.offer.job]


@dataclass
class _Arriving:
    """Bytes on their way."""

    total: int
    body: bytearray = field(default_factory=bytearray)


class _Job:
    """One job of one owner here."""

    def __init__(self, volunteering: Volunteering, connection: Connection, offer: work.JobOffer) -> None:
        self._volunteering = volunteering
        self._local = volunteering.local
        self._connection = connection
        self.offer = offer
        self.slots = volunteering.cores - volunteering.busy
        self._queue: deque[work.Unit] = deque()
        self._work = trio.Event()
        self._cancelled: set[bytes] = set()
        self._running: set[bytes] = set()
        self._done: list[work.Result] = []
        self._bytes: dict[bytes, _Arriving] = {}
        self._results: list[bytes] = []
        self._inputs: dict[int, InputFiles] = {}
        self._input_locks = [trio.Lock() for _ in offer.inputs]
        self._limits = Limits(
            wall_s=offer.wall_s,
            memory_bytes=offer.memory,
            output_bytes=offer.output_bytes,
            log_bytes=offer.log_bytes,
        )
        self._owner = connection.ends.peer_id
        self._folder = self._local.home / FOLDER / "jobs" / to_text(offer.job)

    async def run(self) -> None:
        connection, offer = self._connection, self.offer
        runtime = self._volunteering.runtime(offer)
        assert runtime is not None
        await connection.send(work.JobAccepted(self.slots, self.slots * WINDOW_PER_SLOT))
        for one in offer.inputs:
            self._volunteering.inputs.use(ShareId(one.share))
        try:
            load = await self._fetch_bundle()
            async with trio.open_nursery() as nursery:
                for _ in range(self.slots):
                    nursery.start_soon(self._serve_slot, runtime, load)
                nursery.start_soon(self._report)
                await self._listen()
                nursery.cancel_scope.cancel()
        except* PeerError as errors:
            raise _first(errors) from None
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await self._clean_up()

    # The bundle.

    async def _fetch_bundle(self) -> bytes:
        """The frame that a guest of this job gets first. Raises PeerError."""
        bundle = ShareId(self.offer.bundle)
        folder = self._folder / "bundle"
        try:
            with trio.fail_after(FETCH_S):
                done = await fetch.fetch(
                    self._local, Link(bundle), self._owner_hints(), Options(folder=folder), Progress()
                )
            description, files = await trio.to_thread.run_sync(bundles.read, Path(done.paths[0]))
        except trio.TooSlowError:
            raise PeerGone("its bundle could not be had") from None
        except (NotFound, StorageError) as error:
            await self._connection.send(work.JobRefused(str(error)[:255]))
            raise PeerGone(f"its bundle could not be had: {error}") from error
        return bundles.load_frame(to_text(self.offer.job), files, description)

    def _owner_hints(self) -> list[PeerHint]:
        if not self.offer.port:
            return []
        return [PeerHint(Address(self._connection.ends.remote_host, self.offer.port), self._owner)]

    async def _clean_up(self) -> None:
        for one in self.offer.inputs:
            with suppress(ShoalError):
                await self._volunteering.inputs.release(ShareId(one.share))
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
                    self._cancelled.update(ids)
                case work.Heartbeat():
                    pass
                case work.JobEnd():
                    return
                case _:
                    raise ProtocolViolation(f"a {type(message).__name__} in the middle of a job")

    def _take(self, units: tuple[work.Unit, ...]) -> None:
        if len(self._queue) + len(units) > self.slots * WINDOW_PER_SLOT:
            raise ProtocolViolation("more units than the window has room for")
        self._queue.extend(units)
        self._work.set()

    def _arrived(self, piece: work.Bytes) -> None:
        arriving = self._bytes.setdefault(piece.of, _Arriving(piece.total))
        held = sum(len(one.body) for one in self._bytes.values())
        if piece.offset != len(arriving.body) or piece.total != arriving.total:
            raise ProtocolViolation("pieces out of order")
        if held + len(piece.body) > MOST_PENDING_BYTES or len(arriving.body) + len(piece.body) > arriving.total:
            raise ProtocolViolation("more bytes than there is room for")
        arriving.body += piece.body
        if len(arriving.body) == arriving.total and piece.of == action_key(self.offer.job, len(self._results)):
            if arriving.total > MOST_RESULT_BYTES:
                raise ProtocolViolation("an action's result that is too large")
            self._results.append(bytes(self._bytes.pop(piece.of).body))

    # The slots.

    async def _serve_slot(self, runtime: Runtime, load: bytes) -> None:
        """Runs units in one guest after the other until cancelled."""
        while True:
            guest = await self._local.sandbox.guest(runtime)
            try:
                await self._run_guest(guest, load)
            except GuestEnded as error:
                logger.debug("a guest of job %s ended: %s", short(self.offer.job), error)
            finally:
                guest.discard()

    async def _run_guest(self, guest: Guest, load: bytes) -> None:
        reply, _ = await guest.call(load, seed=H("seed", self.offer.job), limits=self._limits)
        header = self._read(reply)[0]
        if header.error:
            # Every unit of this job will say so: let the owner hear it with the first.
            unit = await self._next()
            self._answer(work.Result(unit.id, kind=kind_of(header), text=report_of(header, reply)))
            return
        known = 0
        each_s = 1.0
        while True:
            units = await self._next_few(max(1, min(MOST_AT_ONCE, int(AHEAD_S / each_s))))
            self._running.update(unit.id for unit in units)
            started = trio.current_time()
            try:
                known = await self._run_units(guest, units, known)
            finally:
                self._running.difference_update(unit.id for unit in units)
            each_s = max(1e-6, (trio.current_time() - started) / max(1, len(units)))

    async def _next_few(self, most: int) -> list[work.Unit]:
        """The next unit, and others like it that are there already: a guest that is asked ahead never waits."""
        units: list[work.Unit] = []
        while not units or (len(units) < most and self._queue and self._queue[0].results == units[0].results):
            unit = await self._next()
            if unit.id in self._cancelled:
                self._cancelled.discard(unit.id)
                self._bytes.pop(unit.id, None)
            else:
                units.append(unit)
        return units

    async def _run_units(self, guest: Guest, units: list[work.Unit], known: int) -> int:
        """Runs units and answers for them; how many action results the guest has now. Raises GuestEnded.

        What a guest was asked ahead of the unit that ended it is for the next guest.
        """
        if units[0].results > len(self._results):
            raise ProtocolViolation("a unit before the results that it reads")
        fresh = self._results[known : units[0].results]
        requests: list[tuple[bytes, bytes]] = []
        asked: list[work.Unit] = []
        for unit in units:
            given = await self._given(unit)
            if given is not None:
                frame = unit_frame(unit, given, known, fresh)
                requests.append((frame, unit_seed(self.offer.job, unit)))
                asked.append(unit)
                known, fresh = max(known, unit.results), []
        replies: list[tuple[bytes, bytes, float]] = []
        before = trio.current_time()

        def answered(_: int, reply: tuple[bytes, bytes]) -> None:
            nonlocal before
            now = trio.current_time()
            replies.append((*reply, now - before))
            before = now

        ended: GuestEnded | None = None
        try:
            await guest.call_many(requests, self._limits, answered)
        except GuestEnded as error:
            ended = error
        for unit, (reply, log, seconds) in zip(asked, replies, strict=False):
            try:
                await self._tell(unit, reply, log[-MOST_LOG_BYTES:], seconds)
            except MalformedMessage as error:
                ended = ended or GuestEnded("broken", str(error))
                self._answer(work.Result(unit.id, kind="broken", text=str(error)[: work.MAX_TEXT]))
        if ended is not None:
            for number, unit in enumerate(asked[len(replies) :]):
                if number:
                    self._queue.append(unit)
                else:
                    kind = "limit" if ended.kind in {"time", "memory", "output", "stack"} else "broken"
                    self._answer(work.Result(unit.id, kind=kind, text=str(ended)[: work.MAX_TEXT]))
            raise ended
        return known

    async def _given(self, unit: work.Unit) -> Given | None:
        """What the unit reads; None where it could not be had, which the owner is told. Raises ProtocolViolation."""
        try:
            joined = bytes(self._bytes.pop(unit.id).body) if unit.id in self._bytes else bytes(unit.inline)
            return await given_to(unit, joined, self._input, self.offer.memory, self._local.disk)
        except ProtocolViolation:
            raise
        except (ShoalError, trio.TooSlowError) as error:
            self._answer(work.Result(unit.id, kind="input", text=str(error)[: work.MAX_TEXT]))
            return None

    async def _tell(self, unit: work.Unit, reply: bytes, log: bytes, seconds: float) -> None:
        """Passes a guest's answer on. Raises MalformedMessage."""
        said, outputs = self._read(reply)
        if said.error:
            kind, text = kind_of(said), report_of(said, reply)
            self._answer(work.Result(unit.id, kind=kind, text=text, seconds=seconds, log=log))
        else:
            await self._deliver(unit, said, outputs, seconds, log)

    async def _input(self, index: int) -> InputFiles:
        if index >= len(self.offer.inputs):
            raise ProtocolViolation("a unit of an input that the job does not have")
        async with self._input_locks[index]:
            if index not in self._inputs:
                wanted = self.offer.inputs[index]
                hints = [PeerHint(Address(host, port)) for host, port in wanted.peers] + self._owner_hints()
                with trio.fail_after(FETCH_S):
                    self._inputs[index] = await self._volunteering.inputs.get(ShareId(wanted.share), hints)
            return self._inputs[index]

    async def _next(self) -> work.Unit:
        while not self._queue:
            self._work = trio.Event()
            await self._work.wait()
        return self._queue.popleft()

    # What the owner is told.

    async def _deliver(self, unit: work.Unit, said: Reply, outputs: list[bytes], seconds: float, log: bytes) -> None:
        joined = b"".join(outputs)
        sizes = tuple(map(len, outputs))
        inline = joined if len(joined) <= work.MAX_INLINE_BYTES else b""
        if len(joined) > work.MAX_INLINE_BYTES:
            for at in range(0, len(joined), work.MAX_PIECE_BYTES):
                body = joined[at : at + work.MAX_PIECE_BYTES]
                await self._connection.send(work.Bytes(unit.id, at, len(joined), body))
        digest = result_digest(outputs)
        records = (max(0, said.records_in), max(0, said.records_out))
        self._volunteering.units_done += 1
        self._answer(work.Result(unit.id, digest, sizes, inline, seconds, records, log=log))

    def _answer(self, result: work.Result) -> None:
        self._done.append(result)

    async def _report(self) -> None:
        """Sends results as they come, a few together, and a sign of life while there are none."""
        last = trio.current_time()
        while True:
            if self._done:
                some, self._done = self._done[: work.MAX_UNITS], self._done[work.MAX_UNITS :]
                for results in _within(some, 512 * 1024):
                    await self._connection.send(work.Results(tuple(results), leaving=self._volunteering.paused))
                last = trio.current_time()
            elif trio.current_time() - last > HEARTBEAT_S:
                ids = tuple(self._running)[: work.MAX_UNITS]
                await self._connection.send(work.Heartbeat(ids))
                last = trio.current_time()
            await trio.sleep(RESULTS_EVERY_S if self._queue or self._running else RESULTS_EVERY_S / 5)

    def _read(self, reply: bytes) -> tuple[Reply, list[bytes]]:
        return frames.decode(reply, Reply)


def _within(results: list[work.Result], most: int) -> Iterator[list[work.Result]]:
    """The results in lists of at most so many bytes, about."""
    some: list[work.Result] = []
    size = 0
    for result in results:
        size += 200 + len(result.inline) + len(result.log) + len(result.text)
        if some and size > most:
            yield some
            some, size = [], 200 + len(result.inline) + len(result.log) + len(result.text)
        some.append(result)
    if some:
        yield some


def _first(errors: BaseExceptionGroup[PeerError]) -> PeerError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, PeerError)
    return found
