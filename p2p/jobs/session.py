"""Runs one job in one guest: imports its file, makes its plans, runs its units. The caller handles frames and pipes."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from p2p.jobs import chance, units
from p2p.jobs.answer import as_json
from p2p.jobs.checks import fingerprint, imports
from p2p.jobs.checks.loaded import Loaded
from p2p.jobs.checks.memory import Owner
from p2p.jobs.checks.state import State
from p2p.jobs.dataset import Input
from p2p.jobs.faults import NOT_THE_JOBS, JobFault, Place, PlanMismatch, raised
from p2p.jobs.planning import Job, Plan, Returned, Settings, run, same
from p2p.jobs.sources import Source
from p2p.jobs.units import Output, Work

_LARGE_BYTES = 4 * 1024 * 1024


class Answer(NamedTuple):
    """What `job` returned, as JSON text."""

    json: str
    saved: bool


class Session:
    """Plans one job, and runs units of it. Every method may raise JobFault, PlanMismatch, Unreadable or MemoryError."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        inputs: Sequence[Input],
        arguments: Mapping[str, Any],
        settings: Settings,
        seed: int,
        is_drawn: bool,
    ) -> None:
        """Imports the job. `files` are the job's own, by path, and can be imported; the entry is module `job`.

        A seed that was drawn gives way to one that the job's modules set.
        """
        self._files = files
        self._inputs, self._arguments = inputs, arguments
        self.settings = settings
        self._seed = f"seed {seed}"
        """What all random numbers follow from."""
        self._results: list[bytes] = []
        self._plan: Plan | None = None
        self._plan_digest = ""
        self._work: list[Work] = []
        self._runs_code: list[bool] = []
        """Which stages of the present plan run functions of the job; the others cannot change what its code holds."""
        self._has_named = any(b"amedtuple" in source for source in files.values())
        self._fresh: State
        """What the job's modules held before `job` was called."""
        self._state: State | None = None
        """What the code of the present plan holds: its modules, and what its operations captured."""
        self._renewed: dict[str, str] = {}
        """Variables that `job` changes while it plans, and a digest of each one's value."""
        self._missing: list[imports.Missing] | None = None
        self.notes: list[str] = []
        """What the user should know about the job, though it is no fault."""
        chance.reset(self._seed)
        with self._blamed(), chance.seeds() as set_by_job:
            module = importlib.import_module("job")
        if is_drawn and set_by_job:
            self._seed = f"seed of the job {set_by_job[-1]}"
        function = getattr(module, "job", None)
        if not callable(function):
            place = Place(str(getattr(module, "__file__", None) or "job"), 1)
            raise JobFault("the file has no function job: write def job(inputs): ...", place=place)
        self._job: Job = function
        loader = getattr(module.__spec__, "loader", None)
        self._loaded = Loaded(files, type(loader))
        self._fresh = State(self._loaded.look(), files)
        if hasattr(loader, "loaded"):
            loader.loaded = self._add  # type: ignore[union-attr]

    def learn(self, action: int, result: bytes) -> None:
        """Takes the result of an action, in order. A result that is already known is ignored."""
        if action > len(self._results):
            raise PlanMismatch(f"the result of action {action} has come before that of action {len(self._results)}")
        if action == len(self._results):
            self._results.append(result)

    def plan(self) -> Plan | Answer:
        """Returns what `job` asks for next, which is still to be confirmed, or what it returned."""
        found = self._run(len(self._results), 0)
        if isinstance(found, Returned):
            with self._blamed():
                return Answer(as_json(found.value), found.saved)
        self._keep(found)
        self._renewed = self._changed_by_job()
        self._look_ahead(found)
        return found

    def confirm(self, action: int, digest: str) -> None:
        """Plans the action with this digest again, with different randomness. Raises JobFault if the plans differ."""
        first = self._planned(action, digest)
        second = self._run(action, 1)
        if isinstance(second, Returned):
            raise JobFault("job() plans differently each time: it returned where it asked for an action before")
        try:
            same(first, second)
        except PlanMismatch as error:
            raise JobFault(str(error), kind="PlanMismatch", place=first.action.place) from None
        self._state = None  # a variable may have another object of the same value now
        again = self._changed_by_job()
        for name in [*again, *self._renewed]:
            if again.get(name) != self._renewed.get(name):
                raise JobFault(_CHANGED_BY_JOB.format(name), kind="StateKept", place=first.action.place)

    def unit(
        self,
        action: int,
        stage: int,
        partition: int,
        digest: str,
        source: Sequence[Any],
        blobs: Sequence[bytes],
    ) -> Output:
        """Runs one unit of the plan that has this digest."""
        plan = self._planned(action, digest)
        if not 0 <= stage < len(plan.stages):
            raise PlanMismatch(f"action {action} has no stage {stage}")
        state = (self._state or self._watched(plan)) if self._runs_code[stage] else None
        chance.reset(f"{self._seed}/{action}/{stage}/{partition}")
        output = self._work[stage].run(source, blobs)
        if state is not None and (changed := state.after_unit(output.records_in)) is not None:
            raise _kept(changed, state)
        return output

    def finish(self, action: int, digest: str, partials: Sequence[bytes]) -> bytes:
        """Makes the action's result from the partial results of its last stage, in partition order."""
        plan = self._planned(action, digest)
        state = (self._state or self._watched(plan)) if plan.action.function is not None else None
        chance.reset(f"{self._seed}/{action}/finish")
        with self._blamed():
            result = units.finish(plan.action, partials, self._files)
        if state is not None:
            for changed, _ in state.changes():
                raise _kept(changed, state)
        return result

    def _look_ahead(self, plan: Plan) -> None:
        """Notes what may go wrong in units of the plan. Raises JobFault for what is sure to."""
        for part, size in zip(fingerprint.parts(plan.stages), plan.sizes, strict=True):
            if size >= _LARGE_BYTES:
                self.notes.append(
                    f"{part.name}, line {part.place.line}, uses {size / 2**20:.1f} MiB that job() made: every guest "
                    "makes them again before its first unit. If that takes long, give the data with --input"
                )
        if self._missing is None:
            loaded = {str(module.__file__) for module in self._loaded.look().own}
            with self._blamed():
                self._missing = imports.missing({path: self._files[path] for path in loaded})
            self.notes += [one.note() for one in self._missing[: imports.MAX_NOTES]]
        functions = (part.function for part in fingerprint.parts(plan.stages) if not isinstance(part, Source))
        imports.check(self._missing, functions)

    def _add(self, module: ModuleType) -> None:
        """Adds a module that an operation, or `job`, has just imported."""
        for state in filter(None, [self._fresh, self._state]):
            if self._loaded.is_own(module):
                state.add(module)
            elif self._loaded.is_packages(module):
                state.add_package(module)

    def _watched(self, plan: Plan) -> State:
        """Remembers the state as it is now, after `job` has planned."""
        parts = fingerprint.parts(plan.stages)
        roots = [
            (Owner(f"what {part.name} captured", part.place, part.name), part.function)
            for part in parts
            if not isinstance(part, Source)
        ]
        self._state = State(self._loaded.look(), self._files, roots)
        return self._state

    def _changed_by_job(self) -> dict[str, str]:
        return {owner.name: fingerprint.digest(held) for owner, held in self._fresh.changes()}

    def _planned(self, action: int, digest: str) -> Plan:
        if self._plan is None or self._plan.number != action:
            if not 0 <= action <= len(self._results):
                raise PlanMismatch(f"the result of action {len(self._results)} has not come")
            found = self._run(action, 2)
            if isinstance(found, Returned):
                raise PlanMismatch(f"job() returned here before its action {action}")
            self._keep(found)
        assert self._plan is not None
        if self._plan_digest != digest:
            raise PlanMismatch(f"job() plans action {action} differently here: its plan is {self._plan_digest}")
        return self._plan

    def _keep(self, plan: Plan) -> None:
        self._plan, self._plan_digest = plan, plan.digest
        self._state = None
        self._work = [
            Work(stage, plan.outputs(stage, self.settings), self._files, has_named=self._has_named)
            for stage in plan.stages
        ]
        self._runs_code = [
            any(not isinstance(part, Source) and part.function is not None for part in fingerprint.parts([stage]))
            for stage in plan.stages
        ]

    def _run(self, action: int, twist: int) -> Plan | Returned:
        chance.reset(self._seed, twist)
        with self._blamed():
            return run(self._job, self._inputs, self._arguments, self._results[:action])

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Blames the job for whatever its own code raises, whether an Exception or another BaseException."""
        try:
            yield
        except NOT_THE_JOBS:
            raise
        except ModuleNotFoundError as error:
            raise raised(error, self._files, text=f"{error}: {imports.WHAT_IS_THERE}") from error
        except BaseException as error:
            raise raised(error, self._files) from error


def _kept(changed: Owner, state: State) -> JobFault:
    text = (
        f"{changed.name} changed while a unit ran, and units must not depend on those before them, because who runs "
        "which units is chance: keep no state between calls (functools.cache may stay). To bring records together, use "
        "reduce_by_key, count or sum; map_partitions can keep state in a local variable, for one partition"
    )
    return JobFault(text, kind="StateKept", place=state.place_of(changed), operation=changed.operation)


_CHANGED_BY_JOB = (
    "job() changes {}, and finds another value there each time it runs, which is once for every action and in every "
    "process: keep no state between calls, make it a local variable of job()"
)
