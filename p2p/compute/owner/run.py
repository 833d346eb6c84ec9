"""Runs the actions of a job at its owner, one after another, from the plan to the result.

The `Driver` carries out what `core.compute.job` decides; the `Employer` keeps volunteers at work, and the
`ResultIntake` takes in what they send back. The owner, too, runs the job's own code only in guests: the plan and the
last step of each action are made in a guest of the owner's sandbox. Outputs of units are brought to the owner and
passed on from there, so that they outlive any volunteer; large ones may stay with volunteers, which read them from each
other.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2p.compute import bundles
from p2p.compute.execution.output_reader import OutputReader
from p2p.compute.owner import saved_files
from p2p.compute.owner.deps import Deps
from p2p.compute.owner.dispatch import Dispatch
from p2p.compute.owner.driver import Driver
from p2p.compute.owner.employer import Employer
from p2p.compute.owner.input_forms import InputForms
from p2p.compute.owner.log import JobLog
from p2p.compute.owner.outputs import Outputs
from p2p.compute.owner.planner import CommandPlanner, GuestPlanner, Planner, Returned
from p2p.compute.owner.puller import Puller
from p2p.compute.owner.rerun import Rerunner
from p2p.compute.owner.results import ResultIntake
from p2p.compute.owner.setup import Setup
from p2p.compute.owner.shuffle import OutputShuffle
from p2p.compute.owner.view import Watch
from p2p.compute.owner.volunteer_session import VolunteerSession
from p2p.concurrency.background import Background
from p2p.core.compute import plan as plans
from p2p.core.compute.attempts import JobState, Work
from p2p.core.compute.diagnosis import what_is_not_sent
from p2p.core.compute.known import Known
from p2p.core.compute.matching import Need
from p2p.core.compute.plan import Plan
from p2p.core.compute.skipped import SkippedRecords
from p2p.core.compute.vacancies import Vacancies
from p2p.errors import JobError, NotFound, ShoalError, StorageError
from p2p.ids import H, PeerId, ShareId, to_text
from p2p.jobs.reviews import Reviews
from p2p.jobs.unpacking import not_utf8
from p2p.progress import JobView, QueuedAt

TICK_INTERVAL_S = 0.25
HOLDERS_TIMEOUT_S = 3.0
WIND_UP_TIMEOUT_S = 5.0
CONFIRM_TIMEOUT_S = 3.0
"""How long a job that cannot go on waits to learn whether its plan was the reason."""


@dataclass(frozen=True)
class Ending:
    """How a job ended: what it returned, and the folder with the files that it saved, if any."""

    value: Any
    saved: Path | None


class JobRun:
    """Runs one job, action by action, until it ends or is stopped."""

    def __init__(
        self, deps: Deps, setup: Setup, vacancies: Vacancies, view: JobView, tell: Callable[[str], None]
    ) -> None:
        """`tell` shows the user a sentence."""
        self._deps = deps
        self._setup = setup
        self._view = view
        self._results: list[bytes] = []
        """Results of the actions so far."""
        self._reviews = Reviews()
        limits = msgspec.json.encode([setup.limits.wall_s, setup.limits.memory_bytes, setup.limits.output_bytes])
        context = plans.job_context(setup.bundle, setup.runtime.digest, limits)
        self._driver = driver = Driver(deps.presence.peer_id, context, setup.limits.wall_s, self._repeat)
        self._outputs = outputs = Outputs(deps.journal, deps.disk, setup.id, setup.folder / "outputs")
        self._writing = trio.CancelScope(shield=True)
        self._shuffle = shuffle = OutputShuffle(outputs, driver.address_of)
        self._dispatch = dispatch = Dispatch(setup.id, setup.inputs, shuffle, self._results, setup.partition_bytes)
        self._forms = InputForms(setup.inputs, setup.runtime, setup.limits)
        self._tell = tell
        self._told_replaced = False
        self.watch = self._watch = Watch(view)
        self._log = JobLog(deps.journal, deps.disk, setup.id, deps.presence.peer_id)
        self._reader = OutputReader(deps.dialer, setup.id, setup.token)
        self._load = bundles.load_frame(view.job, setup.files, setup.description) if setup.runtime.resident else b""
        self._rerunner = Rerunner(deps, setup, self._load, dispatch, self._reader, self._results)
        self._puller = Puller(driver, outputs, shuffle, self._reader)
        self.skipped = SkippedRecords(setup.max_skipped)
        """The records that units have skipped."""
        self._intake = ResultIntake(driver, outputs, self._watch, self._log, self.skipped, self._pull, tell)
        self._employer = Employer(
            deps, setup, driver, dispatch, self._intake, outputs, self._watch, vacancies, self._replaced, tell
        )
        self.recruiter = self._employer.recruiter
        self.over = False
        """Whether the user has cancelled the job for good."""
        self._planning: Planner | None = None
        self._nursery: trio.Nursery
        self._progressed = trio.current_time()

    @property
    def sessions(self) -> Mapping[PeerId, VolunteerSession]:
        """The volunteers at work for the job."""
        return self._driver.sessions

    @property
    def bundle(self) -> ShareId:
        """The share that has the job's bundle."""
        return self._setup.bundle

    @property
    def need(self) -> Need:
        """What the job could use at the moment."""
        setup = self._setup
        units = sum(stage.count - stage.done for stage in self._driver.job.stages)
        return Need(setup.runtime.name, setup.limits.memory_bytes, max(units, 1))

    async def all(self) -> Ending:
        """Runs the job until it ends.

        Raises JobError for the job's own fault; NotFound if nobody works on it for `wait_s`; and StorageError. After
        NotFound and StorageError, the job can be resumed.
        """
        actions = await self._deps.disk.run(self._deps.journal.actions, self._setup.id)
        self._results += [action.result for action in actions]
        await self._deps.disk.run(self._recall_skipped)
        self._driver.recall([action.digest for action in actions])
        outcome: Ending | ShoalError | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            nursery.start_soon(self._tick)
            try:
                async with self._planner() as planner:
                    self._planning = planner
                    nursery.start_soon(self._recruit, planner)
                    outcome = await self._actions(planner)
            except ShoalError as error:
                outcome = error
            finally:
                try:
                    self._look()
                    await self._wind_up(over=self.over or isinstance(outcome, Ending | JobError))
                finally:
                    self._writing.cancel()
            nursery.cancel_scope.cancel()
        assert outcome is not None
        if isinstance(outcome, ShoalError):
            raise outcome
        self._view.state = "done"
        return outcome

    def _recall_skipped(self) -> None:
        for place, skips in self._deps.journal.skips(self._setup.id):
            self.skipped.set(place, skips)

    async def _write(self) -> None:
        """Writes everything even if the job is interrupted, so that accepted results are not made again."""
        with self._writing:
            await self._outputs.write()

    async def _wind_up(self, *, over: bool) -> None:
        """Writes what is still to be written. If the job may be resumed, volunteers keep its outputs for a while."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + WIND_UP_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for session in self.sessions.values() if over else ():
                    nursery.start_soon(session.end, self._setup.id)
                with suppress(StorageError):
                    await self._outputs.settle()
                await self._log.write(self._driver.job.action)
        self._reader.close()

    # Actions.

    async def _recruit(self, planner: Planner) -> None:
        """Looks for volunteers, but not while the job could give them nothing to do."""
        await planner.until_room()
        await self.recruiter.run()

    @asynccontextmanager
    async def _planner(self) -> AsyncIterator[Planner]:
        setup = self._setup
        if not setup.runtime.resident:
            yield CommandPlanner(None if setup.inputs else setup.description.partitions)
            return
        count, sandbox = len(setup.inputs), self._deps.guests.planning
        job = setup.description.chance(setup.id)
        with closing(
            GuestPlanner(sandbox, setup.runtime, job, self._load, setup.limits, count, self._log.planning, self._tell)
        ) as planner:
            yield planner

    async def _actions(self, planner: Planner) -> Ending:
        driver = self._driver
        said = await planner.next(self._results)
        while not isinstance(said, Returned):
            result = await self._run_action(planner, said)
            digest = H("action", result)
            keeping = Background(partial(self._outputs.finish, digest, result))
            self._nursery.start_soon(keeping.run)
            self._results.append(result)
            said = await planner.next(self._results)
            # No unit of an action runs before the results on which the action depends are journaled.
            await keeping.done()
            driver.do(driver.job.finished(digest))
        if driver.plan is not None and self._reviews.is_missing(trio.current_time()):
            await self._confirm(planner, driver.plan)
        driver.do(driver.job.done())
        return Ending(said.value, await self._deps.disk.run(saved_files.folder_of, self._saved))

    async def _run_action(self, planner: Planner, plan: Plan) -> bytes:
        """Runs an action. Returns its result."""
        driver = self._driver
        plan, said = self._forms.labelled(plan)
        for text in said:
            self._tell(text)
        of_bytes, sources = self._dispatch.cut(plan)
        counts = plans.sizes(plan, of_bytes)
        self._shuffle.begin(plan, counts)
        again = self._setup.again and driver.plan is None
        known = await self._still_held(await self._outputs.begin(plan.action, again=again))
        self._view.state, self._view.action = "running", plan.action
        driver.begin(plan, counts, sources, known, trio.current_time())
        if known:
            self._view.units_known += sum(stage.done for stage in driver.job.stages)
        self._employer.prefer()
        # The plan is made once more while its units run, so they need not wait for that.
        confirming = Background(partial(self._confirm, planner, plan))
        if is_reviewed := self._reviews.begins(trio.current_time()):
            self._nursery.start_soon(confirming.run)
        try:
            await driver.finished()
        except ShoalError:
            if not is_reviewed:
                self._nursery.start_soon(confirming.run)
            with trio.move_on_after(CONFIRM_TIMEOUT_S):
                await confirming.done()  # a plan that depends on chance is better explained here than by volunteers
            raise
        if is_reviewed:
            await confirming.done()
        self._watch.look_at_stages(driver.job, plan)
        result = await self._combined(planner, plan, counts[-1])
        self._dispatch.end()
        self._shuffle.end()
        return result

    async def _confirm(self, planner: Planner, plan: Plan) -> None:
        await planner.confirm(plan)
        self._reviews.ends(trio.current_time())

    async def _still_held(self, known: list[Known]) -> list[Known]:
        """Returns the earlier results whose outputs are available, after a short wait for the volunteers that keep some
        of them.
        """
        holders = {one.holder for one in known if one.holder is not None}
        with trio.move_on_after(HOLDERS_TIMEOUT_S):
            await self._driver.until_joined(holders)
        for holder in holders - self.sessions.keys():
            self._outputs.lost(holder)
        return [one for one in known if one.holder is None or one.holder in self.sessions]

    async def _combined(self, planner: Planner, plan: Plan, count: int) -> bytes:
        """Makes the action's result from its final stage. The files that `save` made go into the job's folder."""
        final = plan.stages[-1].index
        if plan.kind != "save":
            return await planner.finish(plan, await self._outputs.get([(final, n, 0) for n in range(count)]))
        await saved_files.save(
            self._outputs, self._deps.disk, final, count, self._saved / saved_files.name_of(plan.action)
        )
        return await planner.finish(plan, [])

    @property
    def _saved(self) -> Path:
        return self._setup.folder / "saved"

    # While it runs.

    async def _tick(self) -> None:
        driver, patience = self._driver, self._setup.hiring.wait_s
        while True:
            await trio.sleep(TICK_INTERVAL_S)
            now = trio.current_time()
            driver.do(driver.job.tick(now))
            self._look()
            if self._outputs.failure is not None:
                driver.stop(self._outputs.failure)
            await self._log.write(driver.job.action)
            if self._is_at_work or driver.job.state is not JobState.RUNNING:
                self._progressed = now
            elif patience is not None and now - self._progressed > patience:
                why = self._view.why or "the volunteers are gone"
                driver.stop(NotFound(f"Nobody works for this job: {why}."))

    def _look(self) -> None:
        self._watch.look(self._driver.job, self._driver.plan, self.sessions, TICK_INTERVAL_S)
        # Until there are units, a lack of volunteers is not the reason why nothing runs.
        begun = self._driver.job.state is JobState.RUNNING
        self._view.skipped = self.skipped.total
        self._view.why = ""
        if self._planning is not None and self._planning.waits_for_room and not self._is_at_work:
            self._view.why = "waiting for room to plan"
        elif begun and self._is_starved:
            self._view.why = what_is_not_sent([one.name for one in self._setup.inputs])
        elif not self._view.volunteers and (begun or self.recruiter.lines):
            self._view.why = self.recruiter.why()
        elif begun and not self._is_at_work:
            self._view.why = "the volunteers are paused, or busy with other jobs"
        lines = self.recruiter.lines.items()
        self._view.queued = [QueuedAt(to_text(peer), queued.place) for peer, queued in lines]

    @property
    def _is_at_work(self) -> bool:
        """Whether any volunteer has a unit, or would take one, and gets the inputs that it needs."""
        if self._is_starved:
            return False
        volunteers = self._driver.job.volunteers().items()
        return any(units or self.sessions[peer].slots for peer, units in volunteers) or self._driver.job.owner_at_work

    @property
    def _is_starved(self) -> bool:
        """Whether all units that were given out wait for inputs, of which nothing comes."""
        at_work = [self.sessions[peer].starved for peer, units in self._driver.job.volunteers().items() if units]
        if self._driver.job.owner_at_work:
            at_work.append(self._rerunner.starved)
        return bool(at_work) and all(at_work)

    def _replaced(self, place: tuple[int, int], count: int, piece: int) -> None:
        """Tells the user, once a job, that a file is not UTF-8: a unit at this stage and partition had to replace so
        many characters.
        """
        path = self._dispatch.file_of(*place, piece)
        if path is not None and not self._told_replaced:
            self._told_replaced = True
            self._tell(not_utf8(path, count))

    def _pull(self, unit: bytes) -> None:
        self._nursery.start_soon(self._puller.pull, unit)

    def _repeat(self, units: Sequence[Work]) -> None:
        self._nursery.start_soon(self._run_own, units)

    async def _run_own(self, units: Sequence[Work]) -> None:
        """Runs the units that volunteers reported as faulty or impossible."""
        for one in units:
            for read in (one, *one.between):
                await self._puller.pull_what_it_reads(read)  # so that nothing depends on what a holder says about them
            try:
                made = await self._rerunner.run(one)
            except ShoalError as error:
                self._driver.stop(error)
                return
            if made.replaced[0]:
                self._replaced((one.stage, one.partition), *made.replaced)
            self._intake.own(self._deps.presence.peer_id, one, made)
