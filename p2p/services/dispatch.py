"""What is sent to a volunteer with units: what they read, and results of actions that it does not have yet."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from p2p.core.attempts import Work
from p2p.core.partitions import Partitioner, Piece, items
from p2p.core.plan import OF_BYTES, Plan
from p2p.errors import JobError, StorageError
from p2p.ids import H, ShareId
from p2p.services.outputs import INLINE, Outputs
from p2p.services.units import action_key, pieces
from p2p.wire import work
from p2p.wire.link import PeerHint

MOST_SAID_BYTES = 512 * 1024
UNIT_BYTES, PIECE_BYTES = 300, 100
"""That a unit, or a piece of an input, takes in a message besides its bytes, about."""


class Input(NamedTuple):
    """An input share and its files: (path, bytes), in its order; and who may have it."""

    share: ShareId
    name: str
    files: tuple[tuple[str, int], ...]
    hints: tuple[PeerHint, ...]


class Dispatch:
    """The units of one job's running action, as they are sent."""

    def __init__(self, job: bytes, inputs: Sequence[Input], outputs: Outputs, results: Sequence[bytes]) -> None:
        self._job = job
        self._inputs = inputs
        self._outputs = outputs
        self._results = results
        self._plan: Plan | None = None
        self._counts: Sequence[int] = ()
        self._partitions: dict[int, list[tuple[Piece, ...]]] = {}

    def cut(self, plan: Plan) -> tuple[list[int | None], dict[int, bytes]]:
        """Cuts the inputs for this plan, the next action's.

        Returns the number of units of each stage on bytes, None for others, and a digest for each stage with a source.
        Raises JobError for too many.
        """
        self._plan = plan
        partitioner = Partitioner([[size for _, size in one.files] for one in self._inputs])
        self._partitions = {
            stage.index: partitioner.pieces(stage.source)
            for stage in plan.stages
            if stage.source is not None and stage.source.kind in OF_BYTES
        }
        names = [[len(path.encode()) for path, _ in one.files] for one in self._inputs]
        for of in chain.from_iterable(self._partitions.values()):
            if sum(PIECE_BYTES + names[piece.input][piece.file] for piece in of) > MOST_SAID_BYTES:
                raise JobError("Files of the inputs have names that are too long. Shorten them, or put files together.")
        counts = [len(self._partitions[n]) if n in self._partitions else None for n in range(len(plan.stages))]
        shares = b"".join(one.share for one in self._inputs)
        sources = {
            stage.index: H("source", shares, repr(self._partitions.get(stage.index, stage.source)).encode())
            for stage in plan.stages
            if stage.source is not None
        }
        return counts, sources

    def begin(self, counts: Sequence[int]) -> None:
        """The action begins, with so many units in each stage."""
        self._counts = counts

    def end(self) -> None:
        """The action is over; units of it that were still to be sent are nobody's any more."""
        self._plan = None

    def near(self, held: frozenset[int]) -> dict[int, list[int]]:
        """By stage, the partitions that read nothing but these inputs (by number)."""
        return {
            stage: [n for n, of in enumerate(partitions) if all(piece.input in held for piece in of)]
            for stage, partitions in self._partitions.items()
        }

    async def messages(self, units: Sequence[Work], sent: int) -> list[Any]:
        """The messages that bring these units to somebody who has `sent` actions' results already."""
        plan = self._plan
        if plan is None:
            return []
        said: list[Any] = []
        for action in range(sent, len(self._results)):
            said += pieces(action_key(self._job, action), self._results[action])
        batch: list[work.Unit] = []
        size = 0
        for one in units:
            try:
                unit, large = await self._unit(plan, one)
            except StorageError:
                if self._plan is plan:
                    raise
                return []
            if large:
                said += pieces(one.unit, large)
            more = UNIT_BYTES + 4 * len(unit.sizes) + len(unit.inline)
            more += sum(PIECE_BYTES + 4 * len(piece.path) for piece in unit.pieces)
            if batch and (size + more > MOST_SAID_BYTES or len(batch) == work.MAX_UNITS):
                said.append(work.Units(tuple(batch)))
                batch, size = [], 0
            batch.append(unit)
            size += more
        if batch:
            said.append(work.Units(tuple(batch)))
        return said

    async def _unit(self, plan: Plan, one: Work) -> tuple[work.Unit, bytes]:
        """A unit, and what it reads where that is too large to go with it."""
        stage = plan.stages[one.stage]
        place = one.unit, plan.action, one.stage, one.partition, bytes.fromhex(plan.digest)
        if stage.source is None:
            wanted = [(read, n, one.partition) for read in stage.reads for n in range(self._counts[read])]
            outputs = await self._outputs.get(wanted)
            reads = tuple(self._counts[read] for read in stage.reads)
            sizes = tuple(map(len, outputs))
            joined = b"".join(outputs)
            inline, large = (joined, b"") if len(joined) <= INLINE else (b"", joined)
            return work.Unit(*place, reads=reads, sizes=sizes, inline=inline, results=plan.action), large
        kind = stage.source.kind
        if one.stage in self._partitions:
            parts = tuple(map(self._piece, self._partitions[one.stage][one.partition]))
            return work.Unit(*place, kind=kind, pieces=parts, results=plan.action), b""
        first, count = items(stage.source.count or 0, stage.partitions or 1, one.partition)
        return work.Unit(*place, kind=kind, first=first, count=count, results=plan.action), b""

    def _piece(self, piece: Piece) -> work.Piece:
        path, _ = self._inputs[piece.input].files[piece.file]
        return work.Piece(piece.input, path, piece.offset, piece.length)
