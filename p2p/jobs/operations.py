"""The parts of a job's chains of operations. What each part does to a record is defined in `fusion`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from p2p.jobs.faults import Place
from p2p.jobs.sources import Source


class Operation(NamedTuple):
    """A narrow operation: it needs only the records of its own partition."""

    name: str
    place: Place
    function: Callable[..., Any] | None = None
    fraction: float = 1.0
    skips: bool = False
    """Whether a record for which the function raises an exception is left out."""


class Action(NamedTuple):
    """The end of a chain: the last stage's units make partial results, which are then combined."""

    name: str
    place: Place
    function: Callable[..., Any] | None = None
    amount: int = 1
    form: str = ""
    """The format that `save` writes: text or json."""


class Shuffle(NamedTuple):
    """A wide operation: it brings all values of a key together in one partition."""

    name: str
    place: Place
    function: Callable[[Any, Any], Any]
    chain: "Chain"
    partitions: int | None


class Chain(NamedTuple):
    """A source of records, and the narrow operations on them."""

    origin: Source | Shuffle
    operations: tuple[Operation, ...] = ()


MAX_LABEL = 500
Sink: TypeAlias = Shuffle | Action


class Stage(NamedTuple):
    """Everything between two shuffles: one loop over the records of a partition."""

    number: int
    origin: Source | Shuffle
    operations: Sequence[Operation]
    sink: Sink

    @property
    def label(self) -> str:
        names = [op.name for op in self.operations if op.name != self.origin.name]
        return _cut(" > ".join([self.origin.name, *names, self.sink.name]))


def _cut(label: str) -> str:
    return label if len(label) <= MAX_LABEL else label[: MAX_LABEL // 2] + " ... " + label[-MAX_LABEL // 2 + 5 :]


def stages(chain: Chain, action: Action) -> list[Stage]:
    """The stages that lead to an action, first to last."""
    found: list[tuple[Chain, Sink]] = [(chain, action)]
    while isinstance(origin := found[-1][0].origin, Shuffle):
        found.append((origin.chain, origin))
    found.reverse()
    return [Stage(index, part.origin, part.operations, sink) for index, (part, sink) in enumerate(found)]
