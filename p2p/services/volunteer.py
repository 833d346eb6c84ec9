"""Volunteering: this peer runs units of other people's jobs in its sandbox, one guest for each offered core.

What it offers, and to whom it is given. Nothing of a job stays but its inputs, up to a bound, for later jobs.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import trio

from p2p.errors import SandboxFailed
from p2p.ids import PeerId, to_text
from p2p.net.connection import Connection
from p2p.sandbox import compiled
from p2p.sandbox.runtimes import MODULE, Runtime
from p2p.services.engagement import Engagement, limits_of
from p2p.services.inputs import FOLDER
from p2p.services.kept import Kept
from p2p.services.local import Local
from p2p.units import format_size
from p2p.wire import work
from p2p.wire.tracker import Capacity

logger = logging.getLogger(__name__)

MOST_JOBS = 8
GIVE_WAY_S = 10.0
IDLE_S = 60.0
"""An owner with nothing to do for so long makes room for the next."""
LINGER_S, SWEEP_S = 300.0, 10.0
"""So long outputs are kept for an owner who went without a word."""


class _Left(NamedTuple):
    """What a job without its owner has left here."""

    owner: PeerId
    kept: Kept
    until: float


class Volunteering:
    """What this peer offers, and to how many jobs it is given."""

    def __init__(self, local: Local, runtimes: Sequence[Runtime], cores: int, memory: int) -> None:
        self.local = local
        self.runtimes = runtimes
        self.cores = cores
        self.memory = memory
        self._paused = False
        self.jobs: dict[bytes, Engagement] = {}
        self._left: dict[bytes, _Left] = {}
        self._kept_folder = local.home / FOLDER / "kept"
        self._done = 0

    @property
    def paused(self) -> bool:
        """Whether it takes no work; what is begun is finished."""
        return self._paused

    def pause(self, paused: bool) -> None:
        """Takes no more work, or takes it again; owners and those who look for volunteers are told."""
        if paused != self._paused:
            self._paused = paused
            self.local.news.ring()
            for job in self.jobs.values():
                job.tell_slots()

    @property
    def units_done(self) -> int:
        """Since this peer started."""
        return self._done + sum(job.units_done for job in self.jobs.values())

    @property
    def busy(self) -> int:
        """Cores that are given to jobs."""
        return sum(job.slots for job in self.jobs.values())

    @property
    def has_room(self) -> bool:
        """Whether it would take one more job."""
        return not self.paused and self.busy < self.cores and len(self.jobs) < MOST_JOBS

    async def run(self) -> None:
        """Has the runtimes compiled, the plain one with a spare guest; then looks after what is left of jobs."""
        for folder in (self._kept_folder, self.local.home / FOLDER / "jobs"):
            await trio.to_thread.run_sync(shutil.rmtree, folder, True)  # of a process that was killed
        await self._prepare()
        while True:
            await trio.sleep(SWEEP_S)
            now = trio.current_time()
            for job in [job for job, left in self._left.items() if left.until <= now]:
                await self._left.pop(job).kept.clear()

    async def _prepare(self) -> None:
        for runtime in self.runtimes:
            try:
                await compiled.ensure_compiled(compiled.default_folder(), runtime, logger.info)
                if runtime is self.runtimes[0]:
                    await self.local.sandbox.prepare(runtime)
            except SandboxFailed as error:
                logger.warning("this peer cannot volunteer with %s: %s", runtime.name, error)
            self.local.news.ring()

    def capacity(self) -> Capacity | None:
        """What others are told of; None while paused."""
        cache = compiled.default_folder()
        ready = tuple(runtime.name for runtime in self.runtimes if compiled.is_compiled(cache, runtime))
        if self.paused or not ready:
            return None
        return Capacity((*ready, MODULE), self.cores, self.memory, load=self.busy / self.cores)

    def refusal(self, offer: work.JobOffer) -> str:
        """Why not; empty for yes."""
        if self.paused:
            return "paused by its user"
        if offer.job in self.jobs:
            return "at work on this job over another connection"
        if len(self.jobs) >= MOST_JOBS or self.busy >= self.cores:
            return "no core is free" if self.cores > 1 else "its core is busy"
        if offer.memory > self.memory:
            return f"it gives a unit {format_size(self.memory)} of memory, {format_size(offer.memory)} are asked for"
        try:
            limits_of(offer)
        except ValueError as error:
            return str(error)
        if offer.runtime == MODULE:
            return ""  # compiled when it is here
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
        before = self.jobs.get(offer.job)
        if before is not None and before.owner == connection.ends.peer_id:
            # The owner has begun anew, after a crash perhaps, and this side has not yet noticed the end of before.
            await self._end(before)
        elif self.busy >= self.cores or len(self.jobs) >= MOST_JOBS:
            idle = max(self.jobs.values(), key=lambda job: job.idle_s)
            if idle.idle_s > IDLE_S:
                await self._end(idle)
        if reason := self.refusal(offer):
            await connection.send(work.JobRefused(reason))
            return
        job = Engagement(self, connection, offer, self.cores - self.busy)
        with self._taking(job):
            await job.run()

    async def _end(self, job: Engagement) -> None:
        job.give_way()
        with trio.move_on_after(GIVE_WAY_S):
            await job.over.wait()

    # Outputs that stay here for other volunteers.

    def kept_for(self, job: bytes, owner: PeerId, token: bytes) -> Kept:
        """Where outputs of a job are kept: those of before, where its owner comes back for them."""
        left = self._left.pop(job, None)
        if left is not None and left.owner == owner and left.kept.token == token:
            return left.kept
        most = self.local.config.volunteer.cache_bytes // MOST_JOBS
        return Kept(self._kept_folder / to_text(job), token, most)

    async def linger(self, job: bytes, owner: PeerId, kept: Kept) -> None:
        """The job's owner is gone, perhaps not for good: what is kept stays for a while."""
        self._left[job] = _Left(owner, kept, trio.current_time() + LINGER_S)
        if len(self._left) > MOST_JOBS:
            await self._left.pop(next(iter(self._left))).kept.clear()

    async def output(self, connection: Connection, wanted: work.GetOutput) -> None:
        """Answers a volunteer of the same job. Raises PeerError."""
        job, left = self.jobs.get(wanted.job), self._left.get(wanted.job)
        if job is not None:
            await job.kept.answer(connection, wanted)
        elif left is not None:
            await left.kept.answer(connection, wanted)
        else:
            await connection.send(work.OutputGone())

    @contextmanager
    def _taking(self, job: Engagement) -> Iterator[None]:
        self.jobs[job.offer.job] = job
        try:
            yield
        finally:
            del self.jobs[job.offer.job]
            self._done += job.units_done
            job.over.set()
