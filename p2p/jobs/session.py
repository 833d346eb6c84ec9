"""Runs one job in one guest: imports its file, makes its plans, runs its units. The caller handles frames and pipes.

`job` runs once, from action to action. In each it rests, while requests about that action are answered: what answers
them is called from within the action. It goes on with the action's result when a request needs the next one. Only for a
request about an earlier action, and to make the plans once more, is it left, and begun again with the results that are
known by then.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from p2p.jobs.operations import Action, Chain
from p2p.jobs.planning import Job, Outline, Plan, Returned, Run, Settings, plan_of, same
from p2p.jobs.sources import Source
from p2p.jobs.units import Output, Work

_LARGE_BYTES = 4 * 1024 * 1024
_TWISTS, _OF_UNITS = 3, 2
"""A plan is made with other randomness where it is made, where it is made again, and where units run."""


class Answer(NamedTuple):
    """What `job` returned, as JSON text."""

    json: str
    saved: bool


Serve = Callable[[], bool]
"""Answers requests. Returns True when `job` has to be elsewhere for one, which is then still to be answered; False at
the end.
"""


class Session:
    """Plans one job, and runs units of it. Every method may raise JobFault, PlanMismatch, Unreadable or MemoryError.

    Requests are answered within `follow`, each once `is_at` is True for its action. `confirm` sees to that itself.
    """

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
        self._wanted = _Wanted(0)
        self._at: int | None = None
        """The action in which `job` rests; if it has returned or failed, the one that it was to come to."""
        self._found: Plan | Returned | BaseException = PlanMismatch("job() was not called")
        """What it asks for there, or has returned, or why it failed."""
        self._again_at: int | None = None
        """The action to which `job` came again, to have its plans compared."""
        self._twist = 0
        self._broken: BaseException | None = None
        """What was raised while requests were answered, which is none of the job's business."""
        self._outlines: dict[int, Outline] = {}
        """The plans that have not been made again yet, by action."""
        self._work: dict[int, Work] = {}
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

    @property
    def known(self) -> int:
        """How many results of actions are known: the number of the next action."""
        return len(self._results)

    def learn(self, action: int, result: bytes) -> None:
        """Takes the result of an action, in order. A result that is already known is ignored."""
        if action > len(self._results):
            raise PlanMismatch(f"the result of action {action} has come before that of action {len(self._results)}")
        if action == len(self._results):
            self._results.append(result)

    # Where `job` is.

    def follow(self, serve: Serve) -> None:
        """Runs `job` as requests need it, until `serve` returns False. Raises what `serve` raises."""
        self._serve = serve
        while serve():
            self._run()

    def is_at(self, action: int, *, twist: int = _OF_UNITS) -> bool:
        """Whether `job` is where a request about this action can be answered; if not, `serve` returns, so that it goes
        there. `twist` is for a new run.
        """
        if not 0 <= action <= len(self._results):
            raise PlanMismatch(f"the result of action {len(self._results)} has not come")
        if self._at == action:
            return True
        self._wanted = _Wanted(action, twist)
        return False

    def is_at_next(self) -> bool:
        """As `is_at`, for `plan`. When there were reviews must not show in what `job` returns: if it drew random
        numbers in one, it is run once more without.
        """
        if self._twist and isinstance(self._found, Returned | JobFault) and chance.is_drawn_from():
            self._at = None
        return self.is_at(self.known, twist=0)

    def _run(self) -> None:
        """Runs `job` from its beginning to where it has to be, and on from there for as long as nobody needs it at an
        earlier place.
        """
        self._at = self._again_at = None
        wanted, self._twist = self._wanted, self._wanted.twist
        found: Returned | BaseException | None
        try:
            chance.reset(self._seed, self._twist)
            with self._blamed():
                passes = min(self._outlines, default=wanted.action) if wanted.again else wanted.action
                found = Run(self._results, passes, self._rest).of(self._job, self._inputs, _anew(self._arguments))
        except NOT_THE_JOBS as error:
            found = error
        if self._broken is not None:
            raise self._broken
        if found is not None:
            self._settle(self._wanted, found)

    def _rest(self, run: Run, chain: Chain, action: Action) -> bool:
        """Has requests answered while `job` is in an action. Returns whether it goes on with the action's result."""
        found: Plan | BaseException
        try:
            with self._blamed():
                found = self._compared(plan_of(run.number, chain, action))
        except NOT_THE_JOBS as error:
            found = error
        if isinstance(found, Plan) and run.number < self._wanted.action:
            return True
        self._settle(self._wanted, found)
        kept = chance.keep()
        try:
            left = not self._serve() or self._wanted.again or self._wanted.action <= run.number
        except BaseException as error:  # noqa: BLE001  raised by `follow`: the job must not catch it
            self._broken = error
            return False
        if left or not isinstance(found, Plan):
            return False
        self._at = None
        chance.restore(kept)
        return True

    def _settle(self, wanted: "_Wanted", found: Plan | Returned | BaseException) -> None:
        self._at, self._found = wanted.action, found
        self._again_at = wanted.action if wanted.again else None
        self._state = None
        if isinstance(found, Plan):
            self._work = {}
            self._runs_code = [
                any(not isinstance(part, Source) and part.function is not None for part in fingerprint.parts([stage]))
                for stage in found.stages
            ]

    def _compared(self, plan: Plan) -> Plan:
        """The plan, if it was the same before. Raises JobFault."""
        if self._wanted.again and (first := self._outlines.pop(plan.number, None)) is not None:
            try:
                same(first, Outline.of(plan))
            except PlanMismatch as error:
                raise JobFault(str(error), kind="PlanMismatch", place=plan.action.place) from None
        return plan

    def _remember(self) -> None:
        """Remembers what `job` asks for, to be compared when it comes here again."""
        if isinstance(self._found, Plan) and self._found.number not in self._outlines:
            self._outlines[self._found.number] = Outline.of(self._found)
            self._renewed = self._changed_by_job()

    def _planned(self, action: int, digest: str) -> Plan:
        assert self._at == action
        match self._found:
            case Plan() as plan:
                self._check(action, plan.digest, digest)
                return plan
            case Returned():
                raise PlanMismatch(f"job() returned here before its action {action}")
            case error:
                raise error

    def _check(self, action: int, found: str, digest: str) -> None:
        if found != digest:
            raise PlanMismatch(f"job() plans action {action} differently here: its plan is {found}")

    # Requests.

    def plan(self) -> Plan | Answer:
        """Returns what `job` asks for next, which is still to be confirmed, or what it returned. For `known`."""
        match self._found:
            case Plan() as plan:
                self._remember()
                self._look_ahead(plan)
                return plan
            case Returned() as returned:
                with self._blamed():
                    return Answer(as_json(returned.value), returned.saved)
            case error:
                raise error

    def confirm(self, action: int, digest: str) -> bool:
        """Compares the plan that has this digest with the one made again, with other randomness; those before it that
        were made only once have been compared on the way. Raises JobFault if any differ.

        False if `job` has to be elsewhere first, as with `is_at`.
        """
        if self._again_at != action:
            if action not in self._outlines:
                if not self.is_at(action):
                    return False
                self._planned(action, digest)
                self._remember()
            self._check(action, self._outlines[action].digest, digest)
            self._wanted = _Wanted(action, (self._twist + 1) % _TWISTS, again=True)
            return False
        self._again_at = None
        if not isinstance(self._found, Plan):
            self._at = None  # what went wrong is told here, and need not happen again
        if isinstance(self._found, Returned):
            raise JobFault("job() plans differently each time: it returned where it asked for an action before")
        if not isinstance(self._found, Plan):
            raise self._found
        self._check(action, self._found.digest, digest)
        again = self._changed_by_job()
        for name in [*again, *self._renewed]:
            if again.get(name) != self._renewed.get(name):
                raise JobFault(_CHANGED_BY_JOB.format(name), kind="StateKept", place=self._found.action.place)
        return True

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
        if stage not in self._work:
            part = plan.stages[stage]
            self._work[stage] = Work(part, plan.outputs(part, self.settings), self._files, has_named=self._has_named)
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


def _anew(argument: Any) -> Any:
    """A copy of an argument, as `job` may change the one it gets."""
    match argument:
        case dict():
            return {name: _anew(value) for name, value in argument.items()}
        case list():
            return [_anew(value) for value in argument]
    return argument


def _kept(changed: Owner, state: State) -> JobFault:
    text = (
        f"{changed.name} changed while a unit ran, and units must not depend on those before them, because who runs "
        "which units is chance: keep no state between calls (functools.cache may stay). To bring records together, use "
        "reduce_by_key, count or sum; map_partitions can keep state in a local variable, for one partition"
    )
    return JobFault(text, kind="StateKept", place=state.place_of(changed), operation=changed.operation)


class _Wanted(NamedTuple):
    """Where `job` has to be, and how it begins if it has to begin for that."""

    action: int
    twist: int = 0
    again: bool = False


_CHANGED_BY_JOB = (
    "job() changes {}, and finds another value there each time it runs, which is in every process, and in some more "
    "than once: keep no state between calls, make it a local variable of job()"
)
