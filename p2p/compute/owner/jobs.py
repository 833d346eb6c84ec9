"""This peer's own jobs: how they are begun, resumed after an interruption and cancelled, and what they leave behind.

    begin --> under way --(it ends)--> done | failed           its journal is cleared, it stays in the list
    under way --(Ctrl-C, nobody to work, disk full, kill)--> stopped --resume--> under way
    under way, stopped --cancel--> cancelled

A job's folder contains its bundle, large outputs and the files that it saves. The shares made for the job, its bundle
and inputs, are removed when it ends. A task that sets up, runs or ends a job claims the job first, so that no other
task does any of these at the same time.
"""

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from msgspec import UNSET

from p2p import causes, private
from p2p.advertising.adverts import Advert
from p2p.compute.answers import JobAnswer, JobRow, LogRow
from p2p.compute.owner import hiring, saved_files
from p2p.compute.owner.deps import Deps
from p2p.compute.owner.log import PLAN
from p2p.compute.owner.made_shares import MadeShares
from p2p.compute.spec import JobSpec, Resumable
from p2p.concurrency.walls import Wall
from p2p.core.compute.skipped import UnitPlace
from p2p.core.compute.vacancies import Vacancies
from p2p.errors import ConfigError, JobError, NotFound, ShoalError, StorageError
from p2p.formats import quoted
from p2p.ids import ShareId, from_text, short, to_text
from p2p.net.connection import Connection
from p2p.net.router import Opening
from p2p.progress import JobView, Progress
from p2p.store.journal import RUNNING, JournaledJob, Logged
from p2p.wire import work

if TYPE_CHECKING:  # all that runs a job is imported when the first one begins: most peers have none
    from p2p.compute.owner.run import Ending, JobRun
    from p2p.compute.owner.setup import Setup

JOB = Wall("job")

Begun = Callable[[bytes], Awaitable[None]]
"""Is told the id of a job once it runs."""

FOLLOW_INTERVAL_S = 0.5
"""How often it is looked at whether a job that was about to begin has."""


@dataclass
class Underway:
    """A running job, with its run and the view of it that is shown to users."""

    id: bytes
    view: JobView
    run: "JobRun"


@dataclass
class Claim:
    """A task's claim on a job: `scope` cancels the task, and `given_up` is set once the task has stopped."""

    scope: trio.CancelScope
    given_up: trio.Event = field(default_factory=trio.Event)
    why: str = "The job was cancelled."
    """What whoever waits is told if `scope` is cancelled."""


class Jobs:
    """All jobs of one peer.

    `folder` contains the folders of jobs that are not over, `results_folder` contains the files that jobs saved.
    """

    def __init__(self, deps: Deps, folder: Path, results_folder: Path) -> None:
        self._deps = deps
        self._folder = folder
        self._results_folder = results_folder
        self._under_way: dict[bytes, Underway] = {}
        self._claims: dict[bytes, Claim] = {}
        """The claims on jobs that are being set up, run or ended."""
        self._made = MadeShares()
        self._vacancies = Vacancies()
        self._recalling = trio.Lock()
        self._recalled = False

    @property
    def under_way(self) -> list[Underway]:
        """The jobs that are running."""
        return list(self._under_way.values())

    @property
    def claimed(self) -> frozenset[bytes]:
        """The jobs that are being set up, run or ended."""
        return frozenset(self._claims)

    async def made(self, share: ShareId) -> bool:
        """Whether a share was made for a job that is not over: its bundle, or an input."""
        await self._recall()
        return self._made.have(share)

    def runs(self) -> "list[JobRun]":
        """The runs of the running jobs."""
        return [underway.run for underway in self._under_way.values()]

    # Volunteers that call.

    def openings(self) -> dict[type, Opening]:
        """Handlers for what volunteers may request of an owner."""
        return {work.VolunteerCall: self._offer_job}

    async def _offer_job(self, connection: Connection, asking: work.VolunteerCall) -> bool:
        recruiters = {job: underway.run.recruiter for job, underway in self._under_way.items()}
        return await hiring.offer_job(recruiters, connection, asking)

    def advert(self) -> Advert:
        """The advert that makes volunteers call; empty if this peer would not be called."""
        if self._deps.presence.is_out_of_reach:
            return Advert()
        return hiring.advert(underway.view.runtime for underway in self._under_way.values())

    # From the beginning to the end.

    def _folder_of(self, job: bytes) -> Path:
        return self._folder / to_text(job)

    @contextmanager
    def _claimed(self, job: bytes) -> Iterator[None]:
        """Claims the job while the body runs.

        Raises ConfigError if it is claimed already, JobError if it is cancelled.
        """
        if job in self._claims:
            raise ConfigError(f"Job {short(job)} is under way already.")
        with trio.CancelScope() as scope:
            claim = self._claims[job] = Claim(scope)
            try:
                yield
            finally:
                del self._claims[job]
                claim.given_up.set()
        if scope.cancelled_caught:
            raise JobError(claim.why)

    async def begin(
        self, spec: JobSpec, progress: Progress, *, keep: bool = True, begun: Begun | None = None
    ) -> JobAnswer:
        """Runs a job until it ends. Returns what `shoal run` answers.

        Raises JobError for the job's own fault; NotFound if nobody works on it for `wait_s`; StorageError; and
        ConfigError for a mistake in the request. After NotFound and StorageError, and when it was interrupted, the
        job can be resumed, if it is to be kept; otherwise it is cancelled.
        """
        job = os.urandom(32)
        await self._recall()
        if spec.out is not None:
            await self._deps.disk.run(saved_files.check_out, Path(spec.out))
        with self._claimed(job):
            setup, kept = await self._begin(spec, job, progress)
            if keep:
                again = f"if it is interrupted, `shoal resume {short(job)}` goes on with it"
                progress.note(f"job {short(job)}: {again}")
            if begun is not None:
                await begun(job)
            return await self._run(setup, kept, progress, keep=keep)

    async def _begin(self, spec: JobSpec, job: bytes, progress: Progress) -> "tuple[Setup, Resumable]":
        from p2p.compute.owner.setup import set_up, with_newest

        try:
            spec = await with_newest(self._deps, spec, progress)
            setup = await set_up(self._deps, spec, job, self._folder_of(job), self._made, progress)
            kept = Resumable(
                spec,
                setup.runtime.name,
                setup.runtime.digest.hex(),
                to_text(setup.bundle),
                setup.token.hex(),
                tuple(to_text(one.share) for one in setup.inputs),
                tuple(map(to_text, self._made.of(job))),
                setup.partition_bytes,
            )
            await self._deps.disk.run(self._deps.journal.begin, job, msgspec.to_builtins(kept))
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._clear(job)
            raise
        return setup, kept

    async def resume(
        self, text: str, progress: Progress, peers: Sequence[str] = (), *, begun: Begun | None = None
    ) -> JobAnswer:
        """Resumes a job that was stopped, with its original options and these additional volunteers.

        Raises as `begin` does.
        """
        from p2p.compute.owner.setup import set_up_again

        job = (await self._find(text)).id
        with self._claimed(job):
            listed = await self._find(to_text(job))  # read again, now that nobody else can change it
            if listed.state != RUNNING:
                raise ConfigError(f"Job {short(job)} {_ended(listed.state)}: there is nothing left to do.")
            kept = msgspec.convert(listed.description, Resumable)
            spec = msgspec.structs.replace(kept.wish, peers=(*kept.wish.peers, *peers))
            kept = msgspec.structs.replace(kept, wish=spec)
            setup = await set_up_again(self._deps, job, self._folder_of(job), kept, self._made, progress)
            if begun is not None:
                await begun(job)
            return await self._run(setup, kept, progress, keep=True)

    async def _run(self, setup: "Setup", kept: Resumable, progress: Progress, *, keep: bool) -> JobAnswer:
        from p2p.compute.owner.run import JobRun

        job, name = setup.id, Path(kept.wish.path).name
        view = JobView(job=to_text(job), name=name, runtime=setup.runtime.name)
        progress.view, progress.state, progress.name = view, "running", name
        started = trio.current_time()
        state, ending, told = "", "", b""
        underway = self._under_way[job] = Underway(
            job, view, JobRun(self._deps, setup, self._vacancies, view, progress.note)
        )
        self._deps.changes.ring()
        try:
            with JOB.around():
                answer = await self._answer(kept, await underway.run.all(), job)
                answer = _with_costs(answer, view, underway.run, trio.current_time() - started)
            state, told = "done", msgspec.json.encode(answer)
        except JobError as error:
            state, ending = "failed", str(error)
            raise
        finally:
            with trio.CancelScope(shield=True):
                if state or not keep:
                    await self._end(job, state or "cancelled", ending, told)
            del self._under_way[job]
            self._deps.changes.ring()
        return answer

    async def cancel(self, text: str) -> bytes:
        """Cancels a job, whether it is running or stopped. Returns its id. Raises ConfigError."""
        job = (await self._find(text)).id
        stopped = False
        while (claim := self._claims.get(job)) is not None:
            if job in self._under_way:
                self._under_way[job].run.over = True
            claim.scope.cancel()
            await claim.given_up.wait()
            stopped = True
        # From here on, this is not interrupted.
        with self._claimed(job), trio.CancelScope(shield=True):
            listed = await self._find(to_text(job))
            if listed.state == RUNNING:
                await self._end(job, "cancelled", "")
            elif not stopped or listed.state != "cancelled":
                raise ConfigError(f"Job {short(job)} {_ended(listed.state)} already.")
        return job

    async def stop(self, text: str) -> bytes:
        """Stops a job that is under way, so that it can be resumed. Returns its id. Raises ConfigError."""
        listed = await self._find(text)
        claim = self._claims.get(listed.id)
        if claim is None:
            what = "is stopped" if listed.state == RUNNING else _ended(listed.state)
            raise ConfigError(f"Job {short(listed.id)} {what} already.")
        claim.why = f"The job is stopped. `shoal resume {short(listed.id)}` goes on with it."
        claim.scope.cancel()
        await claim.given_up.wait()
        return listed.id

    async def forget(self, text: str) -> bytes:
        """Forgets a job with its result, after it has cancelled one that is not over. Returns its id."""
        listed = await self._find(text)
        if listed.state == RUNNING:
            await self.cancel(to_text(listed.id))
        await self._deps.disk.run(self._deps.journal.forget, listed.id)
        return listed.id

    async def listed(self) -> list[JobRow]:
        """Lists the running jobs, those that were stopped, and the last ones that ended; the newest first."""
        rows = []
        for one in await self._deps.disk.run(self._deps.journal.jobs):
            underway = self._under_way.get(one.id)
            view = underway.view if underway is not None else JobView(job=to_text(one.id), name=_name(one))
            row = JobRow(**msgspec.structs.asdict(view), created=one.created, ending=one.ending)
            if underway is None:
                row.state = "stopped" if one.state == RUNNING else one.state
            rows.append(row)
        return rows

    async def follow(self, text: str, progress: Progress) -> None:
        """Waits until a job that is under way has ended or was stopped. Raises ConfigError."""
        job = (await self._find(text)).id
        while (claim := self._claims.get(job)) is not None:
            if (underway := self._under_way.get(job)) is not None:
                progress.view, progress.state, progress.name = underway.view, "running", underway.view.name
                await claim.given_up.wait()
            else:
                # Its beginning rings the bell; that it cannot begin does not.
                with trio.move_on_after(FOLLOW_INTERVAL_S):
                    await self._deps.changes.after(self._deps.changes.count)

    async def result(self, text: str) -> JobAnswer:
        """Returns once more what `begin` returned.

        Raises JobError for a job that failed; ConfigError for one that is not done; NotFound if it is no longer kept.
        """
        listed = await self._find(text)
        if listed.state == "failed":
            raise JobError(str(listed.ending))
        if listed.state != "done":
            why = "not done yet" if listed.state == RUNNING else "cancelled"
            raise ConfigError(f"Job {short(listed.id)} has no result: it is {why}.")
        answer = await self._deps.disk.run(self._deps.journal.answer, listed.id)
        if not answer:
            raise NotFound(f"The result of job {short(listed.id)} is no longer kept. Run the job again.")
        return msgspec.json.decode(answer, type=JobAnswer)

    async def logs(self, text: str, unit: tuple[int, int, int] | None) -> list[LogRow]:
        """Returns what the units of a job printed, as rows by action, stage and partition. Raises ConfigError."""
        listed = await self._find(text)
        rows = await self._deps.disk.run(self._deps.journal.logs, listed.id, unit)
        return list(map(_logged, rows))

    async def _find(self, text: str) -> JournaledJob:
        """Finds the one job whose id starts with `text`. Raises ConfigError."""
        await self._recall()
        rows = await self._deps.disk.run(self._deps.journal.jobs)
        matching = [row for row in rows if text and to_text(row.id).startswith(text.lower())]
        if len(matching) != 1:
            raise ConfigError(
                f"{len(matching) or 'No'} jobs have an id that starts with {quoted(text)}: see `shoal jobs`."
            )
        return matching[0]

    async def _answer(self, kept: Resumable, ending: "Ending", job: bytes) -> JobAnswer:
        """Makes the user's answer. Files that the job saved go to `out` if that is given, otherwise into a share."""
        answer = JobAnswer(to_text(job), "done", ending.value)
        if ending.saved is None:
            return answer
        if kept.wish.out is not None:
            paths = await self._deps.disk.run(_move_all, ending.saved, Path(kept.wish.out), private.hand_out)
            return msgspec.structs.replace(answer, paths=tuple(paths))
        name = f"{Path(kept.wish.path).stem}-{short(job)}"
        folder = self._results_folder / name
        await self._deps.disk.run(_move_all, ending.saved, folder, shutil.move)
        done = await self._deps.sharing.share([folder], name, Progress(), unlisted=True, own=True)
        link = self._deps.discovery.links.to(done.share_id, done.name, done.bytes)
        return msgspec.structs.replace(answer, link=link, folder=str(folder))

    async def _end(self, job: bytes, state: str, ending: str, answer: bytes = b"") -> None:
        """Ends the job: removes what was kept to resume it, and keeps its answer, if it has one."""
        with suppress(StorageError):
            await self._deps.disk.run(self._deps.journal.end, job, state, ending, answer)
        await self._clear(job)

    async def _clear(self, job: bytes) -> None:
        for one in self._made.drop(job):
            with suppress(ShoalError):
                row = await self._deps.disk.run(self._deps.library.share, one)
                if row is not None and row.unlisted:  # otherwise it is the user's own by now
                    await self._deps.sharing.unshare(one)
        await self._deps.disk.run(shutil.rmtree, self._folder_of(job), True)

    async def _recall(self) -> None:
        """Learns which shares were made for the jobs that were stopped before this peer started."""
        if self._recalled:
            return
        async with self._recalling:
            for one in [] if self._recalled else await self._deps.disk.run(self._deps.journal.jobs):
                if one.state == RUNNING:
                    made = msgspec.convert(one.description, Resumable).made
                    self._made.add(one.id, *(ShareId(from_text(text)) for text in made))
            self._recalled = True


def _ended(state: str) -> str:
    return "has failed" if state == "failed" else f"is {state}"


def _with_costs(answer: JobAnswer, view: JobView, run: "JobRun", seconds: float) -> JobAnswer:
    return msgspec.structs.replace(
        answer,
        skipped=run.skipped.total or UNSET,
        first_skipped=tuple(run.skipped.first()) or UNSET,
        seconds=round(seconds, 3),
        units=view.units_done,
        volunteers=len(run.watch.workers),
        core_s=round(run.watch.core_s, 3),
        bytes_moved=view.bytes_moved,
    )


def _logged(one: Logged) -> LogRow:
    return LogRow(
        unit="plan" if one.stage == PLAN else str(UnitPlace(one.action, one.stage, one.partition)),
        peer=to_text(one.peer),
        failure=one.failure,
        text=one.text.decode(errors="replace"),
    )


def _name(one: JournaledJob) -> str:
    return Path(msgspec.convert(one.description, Resumable).wish.path).name


def _move_all(folder: Path, out: Path, move: Callable[[Path, Path], object]) -> list[str]:
    """Moves the files of a folder, each with `move`. Returns the whole result, including what an earlier try moved.

    Raises StorageError.
    """
    try:
        for where, _, names in os.walk(folder):
            target = out / Path(where).relative_to(folder)
            target.mkdir(parents=True, exist_ok=True)
            for name in names:
                move(Path(where, name), target / name)
        return [str(path) for path in saved_files.files_in(out)]
    except OSError as error:
        raise StorageError(
            f"Cannot write the result to {out}: {causes.explained(error)} Then resume the job."
        ) from error
