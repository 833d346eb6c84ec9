"""Prepares units for sending to a volunteer, with what they read and any action results that the volunteer lacks."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

from p2p.compute.execution.unit import MAX_BATCH_BYTES, action_key, pieces
from p2p.compute.owner.outputs import OutputsLost
from p2p.compute.owner.shuffle import OutputShuffle
from p2p.core.compute.attempts import Work
from p2p.core.compute.partitions import Partitioner, Piece, items
from p2p.core.compute.plan import OF_BYTES, Plan
from p2p.core.packing import packed
from p2p.errors import JobError, StorageError
from p2p.ids import H, ShareId
from p2p.wire import work
from p2p.wire.link import PeerHint

UNIT_BYTES, PIECE_BYTES = 300, 100
"""Roughly how many bytes a unit, or a piece of an input, takes in a message besides its own."""


class JobInput(NamedTuple):
    """A share that is a job's input: its files as (path, size), in the share's order, and peers that may have it."""

    share: ShareId
    name: str
    files: tuple[tuple[str, int], ...]
    hints: tuple[PeerHint, ...]
    forms: Mapping[str, str] = MappingProxyType({})
    """The files that are not cut, by path, and the form of each: see `input_forms`."""


def partitioner_of(inputs: Sequence[JobInput], each: int) -> Partitioner:
    """Cuts these inputs into partitions of about `each` bytes."""
    sizes = [[size for _, size in one.files] for one in inputs]
    whole = [{n for n, (path, _) in enumerate(one.files) if path in one.forms} for one in inputs]
    return Partitioner(sizes, each, whole)


class _Ready(NamedTuple):
    """A unit, and the messages that must be sent before it."""

    unit: work.Unit
    before: Sequence[work.Reads | work.Bytes] = ()


class Dispatch:
    """Prepares the units of one job's running action for sending."""

    def __init__(
        self, job: bytes, inputs: Sequence[JobInput], shuffle: OutputShuffle, results: Sequence[bytes], each: int
    ) -> None:
        """`results` are those of the actions so far; `each` is roughly how many bytes a partition has."""
        self._job = job
        self._inputs = inputs
        self._shuffle = shuffle
        self._results = results
        self._each = each
        self._plan: Plan | None = None
        self._partitions: dict[int, list[tuple[Piece, ...]]] = {}

    def cut(self, plan: Plan) -> tuple[list[int | None], dict[int, bytes]]:
        """Cuts the inputs for the plan of the next action.

        Returns the number of units of each stage that reads bytes (None for the others), and a digest for each stage
        with a source. Raises JobError for too many units, or names that are too long.
        """
        self._plan = plan
        partitioner = partitioner_of(self._inputs, self._each)
        self._partitions = {
            stage.index: partitioner.pieces(stage.source)
            for stage in plan.stages
            if stage.source is not None and stage.source.kind in OF_BYTES
        }
        names = [[len(path.encode()) for path, _ in one.files] for one in self._inputs]
        for of in chain.from_iterable(self._partitions.values()):
            if sum(PIECE_BYTES + names[piece.input][piece.file] for piece in of) > MAX_BATCH_BYTES:
                raise JobError("Files of the inputs have names that are too long. Shorten them, or put files together.")
        counts = [len(self._partitions[n]) if n in self._partitions else None for n in range(len(plan.stages))]
        shares = b"".join(one.share for one in self._inputs)
        sources = {
            stage.index: H("source", shares, repr(self._partitions.get(stage.index, stage.source)).encode())
            for stage in plan.stages
            if stage.source is not None
        }
        return counts, sources

    def file_of(self, stage: int, partition: int, piece: int) -> str | None:
        """The path of the input file in which this piece of a unit is; None if there is no such piece."""
        partitions = self._partitions.get(stage, [])
        pieces = partitions[partition] if partition < len(partitions) else ()
        return None if piece >= len(pieces) else self._inputs[pieces[piece].input].files[pieces[piece].file][0]

    def end(self) -> None:
        """Ends the action: those of its units that are still to be sent are no longer needed."""
        self._plan = None

    def near(self, held: frozenset[int]) -> dict[int, list[int]]:
        """Returns the partitions, by stage, that read nothing but these inputs, given by number."""
        return {
            stage: [n for n, of in enumerate(partitions) if all(piece.input in held for piece in of)]
            for stage, partitions in self._partitions.items()
        }

    async def messages(
        self, units: Sequence[Work], sent: int, lost: Callable[[Work], None], *, keep: bool
    ) -> list[Any]:
        """Makes the messages that bring these units to a volunteer that already has the results of `sent` actions.

        Calls `lost` for a unit that cannot be sent, because what it reads is lost. `keep` says that the volunteer may
        keep large outputs for others to read. Raises StorageError.
        """
        plan = self._plan
        if plan is None:
            return []
        ready: list[_Ready] = []
        for one in units:
            failure: StorageError | OutputsLost | None = None
            try:
                ready.append(await self._ready(plan, one, keep=keep))
            except (StorageError, OutputsLost) as error:
                failure = error
            if self._plan is not plan:
                return []  # whatever failed: the units of an action that is over are not needed
            if isinstance(failure, StorageError):
                raise failure
            if failure is not None:
                lost(one)
        said: list[Any] = []
        # Results are sent only together with units, which say how many results there are, so none is sent twice.
        for action in range(sent, len(self._results)) if ready else ():
            said += pieces(action_key(self._job, action), self._results[action])
        for some in packed(ready, _weight, MAX_BATCH_BYTES, work.MAX_UNITS):
            said += chain.from_iterable(one.before for one in some)
            said.append(work.Units(tuple(one.unit for one in some)))
        return said

    async def _ready(self, plan: Plan, one: Work, *, keep: bool) -> _Ready:
        """Prepares a unit for sending. Raises StorageError, OutputsLost."""
        stage, source = plan.stages[one.stage], plan.stages[one.stage].source
        unit = partial(
            work.Unit,
            one.unit,
            plan.action,
            one.stage,
            one.partition,
            bytes.fromhex(plan.digest),
            results=plan.action,
            keep=keep and stage.outputs > 0,
        )
        if source is None:
            read = await self._shuffle.read_by(one)
            return _Ready(unit(reads=read.counts, sizes=read.sizes, inline=read.inline), read.before)
        if one.stage in self._partitions:
            parts = map(self._piece, self._partitions[one.stage][one.partition])
            return _Ready(unit(kind=source.kind, pieces=tuple(parts)))
        first, count = items(source.count or 0, stage.partitions or 1, one.partition)
        return _Ready(unit(kind=source.kind, first=first, count=count))

    def _piece(self, piece: Piece) -> work.Piece:
        path, _ = self._inputs[piece.input].files[piece.file]
        return work.Piece(piece.input, path, piece.offset, piece.length)


def _weight(one: _Ready) -> int:
    """Roughly how many bytes the unit takes in a message."""
    unit = one.unit
    size = UNIT_BYTES + 4 * len(unit.sizes) + len(unit.inline)
    return size + sum(PIECE_BYTES + 4 * len(piece.path) for piece in unit.pieces)
