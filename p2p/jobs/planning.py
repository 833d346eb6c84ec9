"""Runs `job` from action to action, and determines the plan for each."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from p2p.jobs.checks import fingerprint
from p2p.jobs.codec import decode
from p2p.jobs.dataset import NO_ACTION, Dataset, Input, Inputs
from p2p.jobs.faults import JobFault, Place, PlanMismatch, here
from p2p.jobs.operations import Action, Chain, Shuffle, Stage, stages
from p2p.jobs.sources import OF_BYTES, Source

VERSION = 1
MAX_STAGES = 64
MAX_ACTIONS = 10_000
Job = Callable[..., Any]


class Settings(NamedTuple):
    """The settings that are fixed for the whole job before its first unit runs."""

    partitions: int
    reduce_partitions: int


class Plan(NamedTuple):
    """The stages that lead to one action."""

    number: int
    """The action's number within the job."""
    action: Action
    stages: list[Stage]
    digests: list[str]
    sizes: list[int]
    """How many bytes each part has of code, items and captured values."""
    digest: str
    """The plan's digest, stable between guests of one Python version."""

    def partitions(self, stage: Stage, settings: Settings) -> int | None:
        """How many units a stage has; None if that depends on how many bytes the inputs have."""
        match stage.origin:
            case Shuffle(partitions=partitions):
                return partitions or settings.reduce_partitions
            case Source(name=name, total=count):
                return None if name in OF_BYTES else min(settings.partitions, count)

    def outputs(self, stage: Stage, settings: Settings) -> int:
        """How many partitions a stage writes; 0 for the last one."""
        if not isinstance(stage.sink, Shuffle):
            return 0
        return stage.sink.partitions or settings.reduce_partitions

    def as_json(self, settings: Settings) -> dict[str, Any]:
        """The plan in the form in which the peer gets it."""
        told: dict[str, Any] = {
            "version": VERSION,
            "action": self.number,
            "kind": self.action.name,
            "digest": self.digest,
            "line": self.action.place.line,
            "stages": [self._stage(stage, settings) for stage in self.stages],
        }
        return told | {"form": self.action.form} if self.action.form else told

    def _stage(self, stage: Stage, settings: Settings) -> dict[str, Any]:
        source = stage.origin if isinstance(stage.origin, Source) else None
        told: dict[str, Any] = {
            "index": stage.number,
            "source": None,
            "reads": [] if source else [stage.number - 1],
            "outputs": self.outputs(stage, settings),
            "label": stage.label,
            "line": stage.origin.place.line,
        }
        if source:
            of_bytes = source.name in OF_BYTES
            told["source"] = {"kind": source.name} | ({"input": source.input} if of_bytes else {"count": source.total})
        if any(operation.skips for operation in stage.operations):
            told["skips"] = True
        partitions = self.partitions(stage, settings)
        return told if partitions is None else told | {"partitions": partitions}


class Returned(NamedTuple):
    """What `job` returned after its last action."""

    value: Any
    saved: bool


class Outline(NamedTuple):
    """What is remembered of a plan, to compare it with the same one made again."""

    digest: str
    parts: list[tuple[str, Place, str]]
    """The name, place and digest of each part."""

    @classmethod
    def of(cls, plan: Plan) -> "Outline":
        both = zip(fingerprint.parts(plan.stages), plan.digests, strict=True)
        return cls(plan.digest, [(part.name, part.place, digest) for part, digest in both])


class Left(BaseException):
    """Raised to end a run of `job` at an action.

    It is not an Exception, so that the job's own `except Exception` does not catch it.
    """


class Run:
    """One run of `job`, which rests in each action until the action's result is there."""

    def __init__(self, results: Sequence[bytes], passes: int, rest: Callable[["Run", Chain, Action], bool]) -> None:
        """The first `passes` actions are passed: their results are there, and nobody asks for their plans.

        `rest` is called in each other action. It returns once `job` is to go on with the result, or to be left (False).
        """
        self.number = 0
        """How many actions have been left behind."""
        self._results = results
        self._passes = passes
        self.replays = passes > 0
        self._rest = rest
        self._left: Action | None = None
        self.saved = self._over = False

    def replay(self, name: str) -> Any:
        self.saved = self.saved or name == "save"
        result = decode(self._results[self.number])
        self.number += 1
        self.replays = self.number < self._passes
        return result

    def act(self, chain: Chain, action: Action) -> Any:
        if self._over:
            raise JobFault(f"{action.name}() inside an operation: actions belong in job() itself", place=here())
        if self._left:
            raise self._caught(self._left)
        self._over = True
        goes_on = self._rest(self, chain, action)
        self._over = False
        if not goes_on:
            self._left = action
            raise Left
        return self.replay(action.name)

    def of(self, job: Job, inputs: Sequence[Input], arguments: Mapping[str, Any]) -> Returned | None:
        """Runs `job` until it returns, or is left: then None.

        Raises JobFault for a broken rule, and whatever the job raises.
        """
        check_arguments(job, arguments)
        try:
            value = job(Inputs(self, inputs), **arguments)
        except Left:
            return None
        finally:
            self._over, self.replays = True, False
        if self._left:
            raise self._caught(self._left)
        if isinstance(value, Dataset):
            raise JobFault(NO_ACTION)
        return Returned(value, self.saved)

    def _caught(self, action: Action) -> JobFault:
        return JobFault(
            "the job went on after an action that has no result yet: an `except:` or `except BaseException` caught "
            "the exception that ends this run; write `except Exception`",
            place=action.place,
        )


def plan_of(number: int, chain: Chain, action: Action) -> Plan:
    """The plan for the action of this number. Raises JobFault for a broken rule."""
    if number >= MAX_ACTIONS:
        raise JobFault(f"a job has at most {MAX_ACTIONS} actions")
    leading = stages(chain, action)
    if len(leading) > MAX_STAGES:
        raise JobFault(f"more than {MAX_STAGES} stages before one action", place=action.place)
    digests, sizes = fingerprint.digests(leading)
    digest = sha256("\n".join([str(number), *digests]).encode()).hexdigest()
    return Plan(number, action, leading, digests, sizes, digest)


def same(first: Outline, second: Outline) -> None:
    """Raises PlanMismatch if the plans differ, naming the first operation that does."""
    if first.digest == second.digest:
        return
    advice = "decide only from arguments, inputs and results of actions, keep no state, take random numbers from rng()"
    for (one, place, digest), (other, _, again) in zip(first.parts, second.parts, strict=False):
        if digest != again:
            what = "its code or what it captured" if one == other else f"{one} or {other}"
            raise PlanMismatch(f"job() plans differently each time, at {one}, line {place.line} ({what}): {advice}")
    raise PlanMismatch(f"job() plans differently each time, in how many operations there are: {advice}")


def check_arguments(job: Job, arguments: Mapping[str, Any]) -> None:
    """Raises JobFault unless `job` accepts these arguments. The fault says which it accepts."""
    code = getattr(job, "__code__", None)
    if code is None:
        return
    positional = code.co_varnames[: code.co_argcount]
    only_named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    named = [*positional[1:], *only_named]
    defaults = {*positional[len(positional) - len(job.__defaults__ or ()) :], *(job.__kwdefaults__ or ())}
    takes_any = code.co_flags & _TAKES_ANY_NAMED
    unknown = [name for name in arguments if name not in named and not takes_any]
    missing = [name for name in named if name not in defaults and name not in arguments]
    takes = ", ".join(named) or "no arguments"
    if not positional:
        text = "job() must take the inputs: def job(inputs, ...)"
    elif unknown:
        text = f"job() has no argument {unknown[0]!r}; it takes {takes}"
    elif missing:
        text = f"job() needs the argument {missing[0]!r}: give --arg {missing[0]}=VALUE"
    else:
        return
    raise JobFault(text, kind="TypeError", place=Place(code.co_filename, code.co_firstlineno))


_TAKES_ANY_NAMED = 0x08
