"""Errands: fetches and jobs together, where it does not matter which of them is meant. Both are known by their ids."""

from collections.abc import Sequence
from pathlib import Path

from p2p.compute.answers import JobRow
from p2p.compute.owner.jobs import Jobs
from p2p.control import answers
from p2p.control.background_jobs import BackgroundJobs
from p2p.control.protocol import Emit, GetRequest, RunRequest
from p2p.control.reporting import reported
from p2p.control.user_fetch import UserFetch
from p2p.control.user_fetches import UserFetches
from p2p.errors import ConfigError
from p2p.formats import quoted
from p2p.ids import to_text
from p2p.progress import Progress

LOOKING = "looking at the job"


class Errands:
    """The fetches and jobs of one peer's user."""

    def __init__(self, fetches: UserFetches, jobs: Jobs, background: BackgroundJobs) -> None:
        self.fetches = fetches
        self.jobs = jobs
        self._background = background

    def fetch(self, text: str) -> UserFetch:
        """The one fetch whose id begins with this text. Raises ConfigError."""
        found = self.fetches.matching(text)
        if len(found) != 1:
            raise ConfigError(
                f"{len(found) or 'No'} fetches have an id that starts with {quoted(text)}: see `shoal fetches`."
            )
        return found[0]

    async def _found(self, text: str) -> UserFetch | JobRow:
        """The one fetch or job whose id begins with this text. Raises ConfigError."""
        jobs = [row for row in await self.jobs.listed() if text and row.job.startswith(text.lower())]
        found: list[UserFetch | JobRow] = [*self.fetches.matching(text), *jobs]
        if not found:
            raise ConfigError(
                f"No fetch and no job has an id that starts with {quoted(text)}: see `shoal fetches` and `shoal jobs`."
            )
        if len(found) > 1:
            raise ConfigError(
                f"{len(found)} fetches and jobs have an id that starts with {quoted(text)}. Give more of it."
            )
        return found[0]

    async def begin(self, request: GetRequest | RunRequest, emit: Emit) -> answers.Errand:
        """Begins something in the background, and returns once it is under way. Raises ShoalError."""
        if isinstance(request, GetRequest):
            return await self.fetches.begin(request)
        name = Path(request.wish.path).name
        progress = Progress(state=LOOKING, name=name)
        async with reported(progress, emit):
            job = await self._background.begin(request.wish, progress)
        return answers.Errand("job", to_text(job), name, "running")

    async def pause(self, text: str) -> answers.Errand:
        """Stops a fetch or job until it is resumed. Raises ConfigError."""
        one = await self._found(text)
        if isinstance(one, UserFetch):
            return await self.fetches.pause(one)
        await self.jobs.stop(one.job)
        return answers.Errand("job", one.job, one.name, "stopped")

    async def go_on(
        self, text: str, peers: Sequence[str], emit: Emit, *, background: bool, keep_serving: bool
    ) -> answers.WentOn:
        """Resumes a fetch or job, and waits for its end unless it is to go on in the background. Raises ShoalError.

        `peers` are asked too: those of a fetch from now on, those of a job until it stops again.
        """
        one = await self._found(text)
        if isinstance(one, JobRow):
            return await self._resume(one, peers, emit, background=background)
        if background:
            return answers.WentOn(await self.fetches.resume_in_background(one, peers))
        fetched = await self.fetches.resume(one, peers, emit, keep_serving=keep_serving)
        return answers.WentOn(one.errand(), fetch=fetched)

    async def _resume(self, one: JobRow, peers: Sequence[str], emit: Emit, *, background: bool) -> answers.WentOn:
        progress, answer = Progress(state=LOOKING, name=one.name), None
        async with reported(progress, emit):
            if background:
                await self._background.resume(one.job, progress, peers)
            else:
                answer = await self.jobs.resume(one.job, progress, peers)
        said = answers.Errand("job", one.job, one.name, "running" if answer is None else answer.state)
        return answers.WentOn(said, job=answer)

    async def remove(self, text: str, *, delete_files: bool) -> answers.RemovedErrand:
        """Forgets a fetch with its `.part` files or all its files, or a job with its result.

        Raises ConfigError, StorageError.
        """
        one = await self._found(text)
        if isinstance(one, UserFetch):
            removed = await self.fetches.remove(one, finished=delete_files)
            return answers.RemovedErrand(one.errand(), removed.parts, removed.files, removed.changed)
        if delete_files:
            raise ConfigError("--delete-files is for fetches. The files that a job saved stay.")
        await self.jobs.forget(one.job)
        return answers.RemovedErrand(answers.Errand("job", one.job, one.name, one.state))
