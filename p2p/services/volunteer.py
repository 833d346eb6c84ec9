"""Volunteering: this peer runs units of other people's jobs in its sandbox, one guest for each offered core.

What it offers, and to whom it is given. Nothing of a job stays but its inputs, up to a bound, for later jobs.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from p2p.errors import SandboxFailed
from p2p.net.connection import Connection
from p2p.sandbox import compiled
from p2p.sandbox.runtimes import MODULE, Runtime
from p2p.services.engagement import Engagement
from p2p.services.local import Local
from p2p.wire import work
from p2p.wire.tracker import Capacity

logger = logging.getLogger(__name__)

MOST_JOBS = 8


class Volunteering:
    """What this peer offers, and to how many jobs it is given."""

    def __init__(self, local: Local, runtimes: Sequence[Runtime], cores: int, memory: int) -> None:
        self.local = local
        self.runtimes = runtimes
        self.cores = cores
        self.memory = memory
        self._paused = False
        self.jobs: dict[bytes, Engagement] = {}
        self.units_done = 0

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
        return Capacity((*ready, MODULE), self.cores, self.memory, load=self.busy / self.cores)

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
        if reason := self.refusal(offer):
            await connection.send(work.JobRefused(reason))
            return
        job = Engagement(self, connection, offer, self.cores - self.busy)
        with self.taking(job):
            await job.run()

    @contextmanager
    def taking(self, job: Engagement) -> Iterator[None]:
        self.jobs[job.offer.job] = job
        try:
            yield
        finally:
            del self.jobs[job.offer.job]
