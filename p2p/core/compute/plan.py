"""The plan of one action, in the form that the peer accepts, and the ids of its units.

A guest makes the plan and sends it as JSON; this module checks it before it is used. A plan is a list of stages. A
stage either has a source or reads earlier stages; every stage but the last writes `outputs` partitions, one for each
unit of the stages that read it. Only guests know what the operations are.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from p2p.errors import JobError
from p2p.ids import H

VERSION = 1
MAX_STAGES = 64
MAX_UNITS_PER_STAGE = 100_000
MAX_UNITS_PER_PLAN = 400_000
MAX_OUTPUTS = 4096
MAX_BLOBS = 2**24
"""The most outputs that all units of a stage together may write."""
MAX_PLAN_BYTES = 256 * 1024
MAX_RESULT_BYTES = 8 * 1024 * 1024
"""The largest result of an action."""
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""The most bytes of JSON that a job may return: decoded, they can take many times as much memory."""

_Index = Annotated[int, msgspec.Meta(ge=0, lt=MAX_STAGES)]
_Line = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_Word = Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[a-z_]+\Z")]
_Text = Annotated[str, msgspec.Meta(max_length=1024)]

OF_BYTES = ("lines", "records", "chunks", "files")


class Source(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Where a stage that does not read other stages' outputs gets its records.

    They come from the bytes of the job's input number `input` (None: of all its inputs), or are `count` items.
    """

    kind: Literal["lines", "records", "chunks", "files", "range", "params"]
    input: _Index | None = None
    count: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | None = None


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage. `outputs` is 0 for the final stage. `partitions` is the number of units, None if the inputs decide.

    `skips` tells whether its units may leave out records because of errors.
    """

    index: _Index
    source: Source | None
    reads: Annotated[tuple[_Index, ...], msgspec.Meta(max_length=MAX_STAGES)]
    outputs: Annotated[int, msgspec.Meta(ge=0, le=MAX_OUTPUTS)]
    label: _Text = ""
    line: _Line = 0
    partitions: Annotated[int, msgspec.Meta(ge=0, le=MAX_UNITS_PER_STAGE)] | None = None
    skips: bool = False


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stages of the job's action number `action`, in an order in which they can run. `kind`: count, top..."""

    version: Literal[1]
    action: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    kind: _Word
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    stages: Annotated[tuple[Stage, ...], msgspec.Meta(min_length=1, max_length=MAX_STAGES)]
    line: _Line = 0
    form: _Word | None = None
    """The format of the files, for `save`."""


_decoder = msgspec.json.Decoder(Plan)


def of_command(partitions: int | None) -> Plan:
    """The plan of a WASI command: one stage, over the lines of all inputs, or of `partitions` units without inputs."""
    source = Source("lines") if partitions is None else Source("range", count=partitions)
    stage = Stage(0, source, reads=(), outputs=0, label="command", partitions=partitions)
    return Plan(1, 0, "save", H("command").hex(), (stage,))


def decode(raw: bytes, inputs: int) -> Plan:
    """Reads the plan of a job with `inputs` inputs from JSON. Raises JobError if this is no plan, or breaks a bound."""
    if len(raw) > MAX_PLAN_BYTES:
        raise JobError(f"The job's plan has {len(raw)} bytes; {MAX_PLAN_BYTES} are allowed.")
    try:
        plan = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JobError(f"The job's plan makes no sense: {error}.") from None
    check(plan, inputs)
    return plan


def check(plan: Plan, inputs: int) -> None:
    """Raises JobError unless the stages fit together."""
    unread = set(range(len(plan.stages) - 1))
    for number, stage in enumerate(plan.stages):
        if stage.index != number:
            raise _wrong(stage, f"it is the plan's number {number}")
        if (stage.outputs == 0) != (number == len(plan.stages) - 1):
            raise _wrong(stage, "the last stage, and no other, has no outputs")
        if stage.source is None:
            _check_reads(plan, stage)
            unread.difference_update(stage.reads)
        else:
            _check_source(stage, stage.source, inputs)
    if unread:
        raise _wrong(plan.stages[min(unread)], "no later stage reads it")


def sizes(plan: Plan, of_sources: Sequence[int | None]) -> tuple[int, ...]:
    """How many units each stage has; `of_sources` has the partition counts of stages on bytes. Raises JobError."""
    counts = []
    for stage in plan.stages:
        count = stage.partitions if stage.partitions is not None else of_sources[stage.index]
        assert count is not None, "byte sources are cut before"
        if count > MAX_UNITS_PER_STAGE or count * stage.outputs > MAX_BLOBS:
            raise _wrong(stage, f"{count} units with {stage.outputs} outputs are too many; use fewer partitions")
        counts.append(count)
    if sum(counts) > MAX_UNITS_PER_PLAN:
        raise JobError(f"The job has {sum(counts)} units in an action; {MAX_UNITS_PER_PLAN} are allowed.")
    return tuple(counts)


def job_context(bundle: bytes, runtime: bytes, limits: bytes) -> bytes:
    """What all units of a job have in common: the ids of the bundle and the runtime, and the encoded limits."""
    return H("job", bundle, runtime, limits)


def stage_context(job: bytes, action: int, stage: int, plan_digest: bytes, read: Sequence[bytes]) -> bytes:
    """What all units of a stage have in common; `read` has the digests of all that it may read.

    That is: the inputs as they were partitioned, the results of earlier actions, and, for each stage that it reads, one
    digest over the digests of all units of that stage (`results_digest`).
    """
    return H("stage", job, _number(action), _number(stage), plan_digest, *read)


def results_digest(digests: Sequence[bytes]) -> bytes:
    """One digest of the 32-byte digests of a stage's results, in the order of the partitions."""
    return H("stage results", b"".join(digests))


def unit_id(context: bytes, partition: int) -> bytes:
    """The 32-byte id of a unit. Two ids are equal if the same work is done on the same bytes under the same limits."""
    return H("unit", context, _number(partition))


def _check_source(stage: Stage, source: Source, inputs: int) -> None:
    if stage.reads:
        raise _wrong(stage, "it has a source and reads stages too")
    if source.kind in OF_BYTES:
        if source.count is not None or stage.partitions is not None:
            raise _wrong(stage, "a source of bytes is cut by its size alone")
        if not inputs:
            raise _wrong(stage, f"{source.kind}() needs an input; give one with --input")
        if source.input is not None and source.input >= inputs:
            raise _wrong(stage, f"it asks for input {source.input}, and there are {inputs}")
    else:
        if source.input is not None or source.count is None or stage.partitions is None:
            raise _wrong(stage, f"a source of the kind {source.kind} has a count and partitions, and no input")
        if stage.partitions > source.count or (source.count and not stage.partitions):
            raise _wrong(stage, f"{source.count} items cannot be cut into {stage.partitions} partitions")


def _check_reads(plan: Plan, stage: Stage) -> None:
    if not stage.reads or len(set(stage.reads)) != len(stage.reads):
        raise _wrong(stage, "without a source, a stage reads others, each once")
    if max(stage.reads) >= stage.index:
        raise _wrong(stage, "it reads itself or a later one")
    if any(plan.stages[read].outputs != stage.partitions for read in stage.reads):
        raise _wrong(stage, "it must have as many units as what it reads has outputs")


def _wrong(stage: Stage, why: str) -> JobError:
    return JobError(f"The job's plan makes no sense: stage {stage.index} (line {stage.line}): {why}.")


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")
