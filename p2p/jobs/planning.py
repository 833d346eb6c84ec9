"""Runs `job` as far as its next action, and determines the plan for that action."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, NoReturn

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


class _Reached(BaseException):
    """Raised to end a run of `job` at an action.

    It is not an Exception, so that the job's own `except Exception` does not catch it.
    """


class _Run:
    """One run of `job`, with the results of the actions that were already carried out."""

    def __init__(self, results: Sequence[bytes]) -> None:
        self._results = iter(results)
        self._left = len(results)
        self.replays = self._left > 0
        self.reached: tuple[Chain, Action] | None = None
        self.saved = self._over = False

    def replay(self, name: str) -> Any:
        self._left -= 1
        self.replays = self._left > 0
        self.saved = self.saved or name == "save"
        return decode(next(self._results))

    def act(self, chain: Chain, action: Action) -> NoReturn:
        if self._over:
            raise JobFault(f"{action.name}() inside an operation: actions belong in job() itself", place=here())
        if self.reached:
            raise self.caught()
        self.saved = self.saved or action.name == "save"
        self.reached = chain, action
        raise _Reached

    def end(self) -> None:
        """Closes this run: from now on, no action belongs to it."""
        self._over, self.replays = True, False

    def caught(self) -> JobFault:
        assert self.reached is not None
        return JobFault(
            "the job went on after an action that has no result yet: an `except:` or `except BaseException` caught "
            "the exception that ends this run; write `except Exception`",
            place=self.reached[1].place,
        )


def run(job: Job, inputs: Sequence[Input], arguments: Mapping[str, Any], results: Sequence[bytes]) -> Plan | Returned:
    """Runs `job` to the first action after `results`.

    Raises JobFault for a broken rule, and whatever the job raises.
    """
    check_arguments(job, arguments)
    if len(results) >= MAX_ACTIONS:
        raise JobFault(f"a job has at most {MAX_ACTIONS} actions")
    this = _Run(results)
    try:
        value = job(Inputs(this, inputs), **arguments)
    except _Reached:
        value = None
    else:
        if this.reached:
            raise this.caught()
    finally:
        this.end()
    if this.reached:
        chain, action = this.reached
        leading = stages(chain, action)
        if len(leading) > MAX_STAGES:
            raise JobFault(f"more than {MAX_STAGES} stages before one action", place=action.place)
        digests, sizes = fingerprint.digests(leading)
        digest = sha256("\n".join([str(len(results)), *digests]).encode()).hexdigest()
        return Plan(len(results), action, leading, digests, sizes, digest)
    if isinstance(value, Dataset):
        raise JobFault(NO_ACTION)
    return Returned(value, this.saved)


def same(first: Plan, second: Plan) -> None:
    """Raises PlanMismatch if the plans differ, naming the first operation that does."""
    if first.digest == second.digest:
        return
    advice = "decide only from arguments, inputs and results of actions, keep no state, take random numbers from rng()"
    both = zip(fingerprint.parts(first.stages), fingerprint.parts(second.stages), strict=False)
    for place, (one, other) in enumerate(both):
        if first.digests[place] != second.digests[place]:
            what = "its code or what it captured" if one.name == other.name else f"{one.name} or {other.name}"
            raise PlanMismatch(
                f"job() plans differently each time, at {one.name}, line {one.place.line} ({what}): {advice}"
            )
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
