"""Runs one unit: records from its input go through its stage's loop and become bytes. Also combines partial results."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from p2p.jobs.codec import LEAVES, NotARecord, culprit, decode, encode_checked, survey
from p2p.jobs.faults import NOT_THE_JOBS, JobFault, raised, shown
from p2p.jobs.fusion import Loop
from p2p.jobs.keys import Keys
from p2p.jobs.operations import Action, Shuffle, Sink, Stage
from p2p.jobs.skipping import Skipped
from p2p.jobs.sources import Replaced, batches

MAX_RESULT_BYTES = 8 * 1024 * 1024
_PARTIALS: dict[str, type] = {"count": int, "sum": object, "mean": tuple}
"""The type of partial results by action; those of all other actions are lists."""


class Output(NamedTuple):
    """What a unit made: one blob for each output partition or, in the last stage, the partial result."""

    records_in: int
    records_out: int
    blobs: list[bytes]
    replaced: tuple[int, int] = (0, 0)
    """How many characters of its input were not UTF-8, and in which of its pieces the first of them was."""
    skipped: int = 0
    """How many records were left out because an operation raised an exception for them."""
    skips: Sequence[dict[str, Any]] = ()
    """What went wrong with the first of these: see `Skipped.reports`."""


class Work:
    """Runs the units of one stage, whose loop is compiled once."""

    def __init__(self, stage: Stage, outputs: int, files: Collection[str], *, has_named: bool = True) -> None:
        """`files` are the paths of the job's own files, whose frames its faults show; `has_named` is as in `Loop`."""
        self._stage, self._outputs, self._files = stage, outputs, files
        self._loop = Loop(stage.operations, stage.sink, has_named=has_named)
        self._skips = any(operation.skips for operation in stage.operations)
        self._join = Loop((), stage.origin, has_named=has_named) if isinstance(stage.origin, Shuffle) else None

    def run(self, source: Sequence[Any], blobs: Sequence[bytes]) -> Output:
        """Runs one unit. Raises JobFault or MemoryError."""
        count, replaced = _Counted(), Replaced()
        skipped = Skipped(self._stage.operations, self._files) if self._skips else None
        made = self._run(source, blobs, count, replaced, skipped)
        if replaced.count:
            made = made._replace(replaced=(replaced.count, replaced.piece))
        return made._replace(skipped=skipped.count, skips=skipped.reports) if skipped and skipped.count else made

    def _run(
        self,
        source: Sequence[Any],
        blobs: Sequence[bytes],
        count: "_Counted",
        replaced: Replaced,
        skipped: Skipped | None,
    ) -> Output:
        stage = self._stage
        if isinstance(stage.origin, Shuffle):
            assert self._join is not None
            parts = count.of(decode(blob, dict).items() for blob in blobs)
            joined: Keys = _loop(self._join, parts, self._files)
            items: Iterable[Any] = joined.table.items()
        else:
            items = count.of(batches(stage.origin, source, blobs, replaced))
        made = _loop(self._loop, items, self._files, skipped)
        if isinstance(stage.sink, Shuffle):
            return Output(count.records, len(made.table), _split(made, self._outputs, stage))
        if stage.sink.name == "save":
            return Output(count.records, len(made), ["".join(made).encode("utf-8", "replace")])
        records = len(made) if type(made) is list else 1
        return Output(count.records, records, [_result(made, stage.sink, stage)])


def finish(action: Action, partials: Sequence[bytes], files: Collection[str]) -> bytes:
    """Makes the result of an action from the partial results, in partition order. Raises JobFault."""
    made = (decode(partial, _PARTIALS.get(action.name, list)) for partial in partials)
    value: Any
    match action.name:
        case "save":
            value = None
        case "count" | "sum":
            value = _loop(Loop((), action._replace(name="sum")), made, files)
        case "mean":
            totals, counts = zip(*made, strict=True) if partials else ((), ())
            if not sum(counts):
                raise _nothing(action)
            value = _loop(Loop((), action._replace(name="sum")), totals, files) / sum(counts)
        case _:
            value = _loop(Loop((), action), chain.from_iterable(made), files)
            if action.name in ("min", "max", "reduce"):
                if not value:
                    raise _nothing(action)
                value = value[0]
    return _result(value, action)


class _Counted:
    """Counts the records that are iterated over, one batch at a time."""

    def __init__(self) -> None:
        self.records = 0

    def of(self, batches: Iterable[Collection[Any]]) -> Iterator[Any]:
        return chain.from_iterable(map(self._count, batches))

    def _count(self, batch: Collection[Any]) -> Collection[Any]:
        self.records += len(batch)
        return batch


def _loop(loop: Loop, items: Iterable[Any], files: Collection[str], skipped: Skipped | None = None) -> Any:
    try:
        return loop.run(items, skipped)
    except NOT_THE_JOBS:
        raise
    except BaseException as error:  # whatever a job's function raises, even SystemExit, is the job's fault
        raise loop.fault(error, files) or raised(error, files) from error


def _split(keys: Keys, outputs: int, stage: Stage) -> list[bytes]:
    has_sets = _checked(list(keys.table.values()), stage.sink, stage)
    if outputs == 1:
        return [encode_checked(keys.table, has_sets=has_sets)]
    parts: list[dict[Any, Any]] = [{} for _ in range(outputs)]
    for (key, value), partition in zip(keys.table.items(), keys.partitions(outputs), strict=True):
        parts[partition][key] = value
    return [encode_checked(part, has_sets=has_sets) for part in parts]


def _result(value: Any, action: Action, stage: Stage | None = None) -> bytes:
    if type(value) in LEAVES:
        data = encode_checked(value, has_sets=False)  # most often a number, with nothing inside to check
    else:
        values = value if type(value) is list else [value]
        data = encode_checked(value, has_sets=_checked(values, action, stage))
    if len(data) > MAX_RESULT_BYTES:
        text = f"{action.name}() comes to {len(data):,} bytes, over {MAX_RESULT_BYTES:,}: ask for less, or use save()"
        raise JobFault(text, kind="ResultTooLarge", place=action.place, operation=action.name)
    return data


def _checked(values: list[Any], sink: Sink, stage: Stage | None) -> bool:
    try:
        return survey(values)
    except NotARecord as error:
        record = shown(culprit(values))
        raise JobFault(
            f"{error}{_maker(stage)}", kind="NotARecord", place=sink.place, operation=sink.name, record=record
        ) from None


def _maker(stage: Stage | None) -> str:
    """Determines which operation made the records that a sink refuses."""
    last = stage.operations[-1] if stage is not None and stage.operations else None
    return f" (from {last.name}, line {last.place.line})" if last else ""


def _nothing(action: Action) -> JobFault:
    text = f"{action.name}() of no records"
    return JobFault(text, kind="ValueError", place=action.place, operation=action.name)
