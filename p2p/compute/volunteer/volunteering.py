"""Volunteering: this peer runs units of other people's jobs in its sandbox, one guest per offered core.

This module decides what the peer offers, and who gets it. A job gets all cores that are free when it arrives. An owner
whose offer arrives while no core is free may wait (`queue`), and gets cores as soon as some are free. Free cores for
which nobody waits go to the jobs at work. While owners wait, a job hands a core over every `unit_time_s`, and when a
unit has run for that long; no unit is ended for somebody in line. After a job has ended, only its inputs are kept, up
to a bound, for later jobs.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from p2p.compute.execution.kept_outputs import OutputStore
from p2p.compute.volunteer.deps import Deps
from p2p.compute.volunteer.job_session import JobSession, limits_of
from p2p.compute.volunteer.lingering import LingeringOutputs
from p2p.compute.volunteer.queue import QueuedOwner
from p2p.concurrency.bell import Bell
from p2p.config import VolunteerConfig
from p2p.core.compute.matching import topped_up
from p2p.core.compute.waiting_queue import QueuePlace, WaitingQueue
from p2p.core.ledger import Ledger, Room
from p2p.errors import SandboxFailed
from p2p.formats import format_size
from p2p.ids import PeerId, to_text
from p2p.net.connection import Connection
from p2p.net.router import Opening
from p2p.sandbox import compiled
from p2p.sandbox.runtimes import MODULE, Runtime
from p2p.wire import work
from p2p.wire.tracker import Capacity

logger = logging.getLogger(__name__)

MAX_JOBS = 8
GIVE_WAY_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 60.0
"""An owner that has had nothing to do for this long makes room for the next."""
SWEEP_INTERVAL_S = 1.0


class Volunteering:
    """What this peer offers as a volunteer, and the jobs at work on it."""

    def __init__(
        self, deps: Deps, folder: Path, runtimes: Sequence[Runtime], offered: VolunteerConfig, ledger: Ledger
    ) -> None:
        """`folder` is the volunteer's own; the ledger says what others than jobs have of this machine."""
        self._deps = deps
        self._ledger = ledger
        ledger.guests = self._room_of_guests
        self.runtimes = runtimes
        self.cores = offered.cores
        self.memory = offered.memory_bytes
        """How many bytes a unit gets."""
        self.unit_time_s = offered.unit_time_s
        self.compiling = ""
        """The runtime that is being compiled, if any."""
        self._paused = False
        self.jobs: dict[bytes, JobSession] = {}
        self._queue = WaitingQueue()
        self._changes = Bell()
        """Rings when the queue changes, or the cores that are free for the owners in it."""
        self._lingering = LingeringOutputs()
        self._stores = 0
        """How many stores of outputs there have been."""
        self._kept_folder, self._jobs_folder = folder / "kept", folder / "jobs"
        self._most_kept_bytes = offered.cache_bytes
        self._done = 0

    @property
    def paused(self) -> bool:
        """Whether this peer takes no more work; what has begun is finished."""
        return self._paused

    def pause(self, paused: bool, *, now: bool = False) -> None:
        """Stops taking work, or starts again. Owners, and peers that look for volunteers, are told.

        If `now`, units that are running are ended; otherwise they are finished.
        """
        self._pause(paused)
        for job in self.jobs.values():
            if paused and now:
                job.stop("the volunteer's user wants its cores now")
            elif not paused:
                job.go_on()

    def _pause(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            self._deps.changes.ring()
            self._changes.ring()
            for job in self.jobs.values():
                job.tell_slots()

    def freed(self) -> None:
        """To be called when a job has given cores back."""
        self._changes.ring()

    def cap_reached(self, job: bytes) -> None:
        """Gives the core on which a unit has run for as long as a unit may to the next owner, if one waits."""
        at_work = self.jobs.get(job)
        if self._queue and at_work is not None and at_work.slots:
            at_work.hand_over()

    @property
    def units_done(self) -> int:
        """How many units were done since this peer started."""
        return self._done + sum(job.units_done for job in self.jobs.values())

    @property
    def busy(self) -> int:
        """How many cores jobs have."""
        return sum(job.cores for job in self.jobs.values())

    @property
    def in_use(self) -> int:
        """How many cores jobs use: none of those whose units were ended by a pause."""
        return sum(job.cores for job in self.jobs.values() if not job.stopped)

    @property
    def spare(self) -> int:
        """How many cores no job has and nobody waits for."""
        return 0 if self._queue else max(self._cores_for_jobs - self.busy, 0)

    @property
    def _cores_for_jobs(self) -> int:
        """How many cores jobs may have now: none that are lent to clusters."""
        return max(min(self.cores, self._ledger.total.cores - self._ledger.held.cores), 0)

    def _room_of_guests(self) -> Room:
        return Room(self.busy, self.busy * self.memory, 0)

    @property
    def waiting(self) -> int:
        """How many owners wait in the queue."""
        return len(self._queue)

    @property
    def has_room(self) -> bool:
        """Whether this peer would take one more job, from any owner."""
        return not self._queue and self._could_take

    @property
    def _is_full(self) -> bool:
        return self.busy >= self._cores_for_jobs or len(self.jobs) >= MAX_JOBS

    @property
    def _could_take(self) -> bool:
        return not self.paused and not self._is_full

    async def run(self) -> None:
        """Compiles the runtimes and starts a spare guest of the plain one.

        After that, cleans up what is left of jobs.
        """
        for folder in (self._kept_folder, self._jobs_folder):
            await self._deps.disk.run(shutil.rmtree, folder, True)  # left by a process that was killed
        await self._prepare()
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            if self._queue and (idle := self._idle()) is not None:
                idle.give_way()
            self._take_turns()
            self._top_up()
            await self._lingering.expire(trio.current_time())

    def _take_turns(self) -> None:
        """Lets the job that has had its cores for longest hand one over, if an owner waits and it is time."""
        if (
            self.paused
            or not self._queue
            or not self._is_full
            or any(job.cores > job.slots for job in self.jobs.values())
        ):
            return  # or else a core is on its way already
        job = min((job for job in self.jobs.values() if job.slots), key=lambda job: job.since, default=None)
        if job is not None and trio.current_time() - job.since >= self.unit_time_s:
            job.hand_over()

    def _top_up(self) -> None:
        """Gives the jobs at work those cores that nobody has asked for since they became free."""
        at_work = [] if self.paused else [job for job in self.jobs.values() if job.lacks_slots]
        now = topped_up([job.slots for job in at_work], [job.wanted for job in at_work], self.spare)
        for job, slots in zip(at_work, now, strict=True):
            if slots > job.slots:
                job.resize(slots)

    async def _prepare(self) -> None:
        for runtime in self.runtimes:
            self.compiling = await self._to_compile(runtime)
            try:
                await compiled.ensure_compiled(
                    compiled.default_folder(), runtime, logger.info, idle=self._deps.sandbox.idle
                )
                if runtime is self.runtimes[0]:
                    await self._deps.sandbox.prepare(runtime)
            except SandboxFailed as error:
                logger.warning("this peer cannot volunteer with %s: %s", runtime.name, error)
            finally:
                self.compiling = ""
            self._deps.changes.ring()

    async def to_compile(self) -> list[str]:
        """The runtimes that are not compiled yet."""
        return [name for name in [await self._to_compile(runtime) for runtime in self.runtimes] if name]

    async def _to_compile(self, runtime: Runtime) -> str:
        ready = await self._deps.disk.run(compiled.is_compiled, compiled.default_folder(), runtime)
        return "" if ready else runtime.name

    def capacity(self) -> Capacity | None:
        """What this peer announces as its offer; None while it is paused or no runtime is compiled."""
        cache = compiled.default_folder()
        ready = tuple(runtime.name for runtime in self.runtimes if compiled.is_compiled(cache, runtime))
        if self.paused or not ready:
            return None
        load = min(self.busy / self.cores, 1.0)
        return Capacity((*ready, MODULE), self.cores, self.memory, load=load, unit_s=self.unit_time_s)

    def _no_room(self) -> str:
        """Returns why this peer takes nothing at the moment."""
        if self.paused:
            return "paused by its user"
        return "no core is free" if self.cores > 1 else "its core is busy"

    def _misfit(self, offer: work.JobOffer) -> str:
        """Returns why this peer would not take the offer even if it had room; empty if it would."""
        if offer.job in self.jobs:
            return "at work on this job over another connection"
        if offer.memory > self.memory:
            return f"it gives a unit {format_size(self.memory)} of memory, {format_size(offer.memory)} are asked for"
        try:
            limits_of(offer, self.unit_time_s)
        except ValueError as error:
            return str(error)
        if offer.runtime == MODULE:
            return ""  # this runtime is compiled once it has been fetched
        runtime = self.runtime(offer)
        if runtime is None:
            return f"no runtime {offer.runtime} of that build"
        return (
            "" if compiled.is_compiled(compiled.default_folder(), runtime) else f"{offer.runtime} is not compiled here"
        )

    def runtime(self, offer: work.JobOffer) -> Runtime | None:
        """Returns the requested runtime if this peer has exactly that build; otherwise None."""
        for runtime in self.runtimes:
            if runtime.name == offer.runtime and runtime.digest == offer.digest:
                return runtime
        return None

    async def converse(self, connection: Connection, offer: work.JobOffer) -> None:
        """Answers an offer, at once or when its turn has come, and works on the job until that ends.

        Raises PeerError.
        """
        owner, before = connection.ends.peer_id, self.jobs.get(offer.job)
        # The owner has started again, perhaps after a crash, and this side has not noticed yet.
        returning = before if before is not None and before.owner == owner else None
        # A returning owner is first, but only once: not if its job was told to make room, for its return or for others.
        first = returning is not None and not returning.gives_way
        place = QueuePlace(owner, connection.ends.remote_host, first)
        job: JobSession | None = None
        with self._in_line(place):
            if (ending := returning or (None if self._misfit(offer) else self._idle())) is not None:
                await self._end(ending)
            waiter = QueuedOwner(connection, lambda: self._place_in_line(place), self._no_room, self._changes)
            while not (reason := self._misfit(offer)) and self._place(place):
                if not (offer.waits and self._queue.holds(place)):
                    reason = self._no_room()
                    break
                offer = await waiter.turn(offer)
            if not reason:
                self._queue.serve(place)
                job = self.jobs[offer.job] = JobSession(
                    self,
                    self._deps,
                    connection,
                    offer,
                    self._cores_for_jobs - self.busy,
                    self._jobs_folder / to_text(offer.job),
                )
        if job is None:
            await connection.send(work.JobRefused(reason))
            return
        with self._taking(job):
            await job.run()

    @contextmanager
    def _in_line(self, place: QueuePlace) -> Iterator[None]:
        if self._queue.join(place):
            self._changes.ring()  # this owner may come before others
        try:
            yield
        finally:
            if self._queue.holds(place) and not self._place(place):
                self._queue.serve(place)  # a turn not taken counts: otherwise an owner that takes none is always first
            self._queue.leave(place)
            self._changes.ring()

    def _place(self, place: QueuePlace) -> int:
        """Returns the owner's place in the queue: 0 if its job could begin, 1 for the next."""
        order = self._queue.order({job.owner for job in self.jobs.values() if job.slots})
        if order and order[0] is place and self._could_take:
            return 0
        return order.index(place) + 1 if place in order else len(order) + 1

    def _place_in_line(self, place: QueuePlace) -> int | None:
        return self._place(place) if self._queue.holds(place) else None

    def _idle(self) -> JobSession | None:
        """Returns the job that must make room, if any."""
        if self.paused or not self._is_full:
            return None
        idle = max(self.jobs.values(), key=lambda job: job.idle_s)
        return idle if idle.idle_s > IDLE_TIMEOUT_S else None

    async def _end(self, job: JobSession) -> None:
        job.give_way()
        with trio.move_on_after(GIVE_WAY_TIMEOUT_S):
            await job.over.wait()

    def openings(self) -> dict[type, Opening]:
        """Handlers for what others may request of a volunteer; `refusals` has those of a peer that is none."""
        return {work.JobOffer: self._job_offer, work.GetOutput: self._output, work.GetCapacity: self._get_capacity}

    async def _job_offer(self, connection: Connection, offer: work.JobOffer) -> bool:
        await self.converse(connection, offer)
        return True

    async def _get_capacity(self, connection: Connection, asked: work.GetCapacity) -> bool:
        await connection.send(work.CapacityIs(self.capacity()))
        return False

    # Outputs that this peer keeps for other volunteers.

    def kept_for(self, job: bytes, owner: PeerId, token: bytes) -> OutputStore:
        """Returns the store for outputs of a job: with the earlier ones, if its owner has come back for them."""
        if (earlier := self._lingering.take(job, owner, token)) is not None:
            return earlier
        self._stores += 1
        # A folder of its own: another owner may give its job the same id.
        folder = self._kept_folder / f"{to_text(job)}-{self._stores}"
        return OutputStore(self._deps.disk, folder, token, self._most_kept_bytes // MAX_JOBS)

    async def linger(self, job: bytes, owner: PeerId, host: str, kept: OutputStore) -> None:
        """Keeps the outputs of a job for a while after its owner has left, as the owner may return."""
        await self._lingering.keep(job, owner, host, kept, trio.current_time())

    async def _output(self, connection: Connection, wanted: work.GetOutput) -> bool:
        """Sends a kept output to a volunteer that works on the same job. Raises PeerError."""
        job = self.jobs.get(wanted.job)
        kept = self._lingering.find(wanted.job, wanted.token)
        if job is not None and job.kept.token == wanted.token:
            kept = job.kept
        if kept is None:
            await connection.send(work.OutputGone())
        else:
            await kept.answer(connection, wanted)
        return False

    @contextmanager
    def _taking(self, job: JobSession) -> Iterator[None]:
        try:
            yield
        finally:
            del self.jobs[job.offer.job]
            self._done += job.units_done
            job.over.set()
            self._changes.ring()
