"""Jobs in the background: they run in tasks of the node, not of the commands that began them.

A node that starts again goes on with those that are not over and were not stopped.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import trio

from p2p.compute.owner.jobs import JOB, Begun, Jobs
from p2p.compute.spec import JobSpec
from p2p.errors import ConfigError, InternalError, ShoalError
from p2p.ids import short, to_text
from p2p.progress import Progress
from p2p.store.disk import Disk
from p2p.store.journal import Journal

logger = logging.getLogger(__name__)

NO_NODE = "The peer of another command runs in this home, and ends with it. Start one that stays: shoal node"


class _Work(Protocol):
    """Begins or resumes a job, calls `begun` once it runs, and returns when it is over. Raises ShoalError."""

    def __call__(self, *, begun: Begun) -> Awaitable[object]: ...


class _Beginning:
    """A job that is about to begin: `settled` is set once it has, with `job`, or once it never will."""

    def __init__(self, job: bytes = b"") -> None:
        self.settled = trio.Event()
        self.scope = trio.CancelScope()
        self.job = job
        self.failure: ShoalError | None = None


class BackgroundJobs:
    """The jobs of one peer that no command waits for."""

    def __init__(self, jobs: Jobs, journal: Journal, disk: Disk, *, of_node: bool) -> None:
        self._jobs = jobs
        self._journal = journal
        self._disk = disk
        self._of_node = of_node
        self._orders, self._to_do = trio.open_memory_channel[Callable[[], Awaitable[None]]](float("inf"))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs jobs until cancelled. A node goes on with those that were under way."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            if self._of_node:
                for job in await self._disk.run(self._journal.in_background):
                    nursery.start_soon(self._run, _Beginning(job), partial(self._jobs.resume, to_text(job), Progress()))
            async for order in self._to_do:
                nursery.start_soon(order)

    async def begin(self, spec: JobSpec, progress: Progress) -> bytes:
        """Begins a job, and returns its id once it runs. Raises as `Jobs.begin` does."""
        return await self._begun(partial(self._jobs.begin, spec, progress))

    async def resume(self, job: str, progress: Progress, peers: Sequence[str] = ()) -> bytes:
        """Resumes a job that was stopped, and returns its id once it runs. Raises as `Jobs.resume` does."""
        return await self._begun(partial(self._jobs.resume, job, progress, peers))

    async def _begun(self, work: _Work) -> bytes:
        if not self._of_node:
            raise ConfigError(NO_NODE)
        one = _Beginning()
        self._orders.send_nowait(partial(self._run, one, work))
        try:
            await one.settled.wait()
        finally:
            if not one.settled.is_set():
                one.scope.cancel()
        if one.failure is not None:
            raise one.failure
        return one.job

    async def _run(self, one: _Beginning, work: _Work) -> None:
        async def begun(job: bytes) -> None:
            await self._disk.run(self._journal.put_in_background, job)
            one.job = job
            one.settled.set()

        try:
            with JOB.around(), one.scope:
                await work(begun=begun)
        except ShoalError as error:
            one.failure = error
            if one.job and not isinstance(error, InternalError):
                logger.info("job %s: %s", short(one.job), error)
        finally:
            one.settled.set()
        # Not if the whole node ends: then the next one goes on with it.
        if one.job:
            await JOB.contain(self._disk.run, self._journal.take_from_background, one.job)
