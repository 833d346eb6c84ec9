"""What is sent to a volunteer with units: what they read, and results of actions that it does not have yet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import trio

from p2p.core.attempts import Work
from p2p.core.partitions import Partitioner, Piece, items
from p2p.core.plan import OF_BYTES, Plan, Stage
from p2p.errors import JobError, StorageError
from p2p.ids import H, PeerId, ShareId
from p2p.services.outputs import INLINE, Lost, Outputs, Remote
from p2p.services.units import action_key, pieces
from p2p.wire import work
from p2p.wire.address import Address
from p2p.wire.link import PeerHint

MOST_SAID_BYTES = 512 * 1024
NOWHERE = Address("127.0.0.1", 1)
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

    def __init__(
        self,
        job: bytes,
        inputs: Sequence[Input],
        outputs: Outputs,
        results: Sequence[bytes],
        each: int,
        address_of: Callable[[PeerId], Address | None],
    ) -> None:
        """`each`: bytes of a partition, about; `address_of`: where a volunteer that keeps outputs can be dialled."""
        self._each = each
        self._address_of = address_of
        self._pulled: dict[tuple[int, int], trio.Event] = {}
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
        partitioner = Partitioner([[size for _, size in one.files] for one in self._inputs], self._each)
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

    def elsewhere(self, one: Work) -> list[Remote]:
        """The outputs that this unit reads where they are kept."""
        reads = () if self._plan is None else self._plan.stages[one.stage].reads
        places = [(read, partition) for read in reads for partition in range(self._counts[read])]
        return [remote for place in places if (remote := self._outputs.remote(*place)) is not None]

    @contextmanager
    def pulling(self, stage: int, partition: int) -> Iterator[bool]:
        """While the body brings the outputs of a unit here, units that read them wait; False: it is done already."""
        if (stage, partition) in self._pulled:
            yield False
            return
        event = self._pulled[stage, partition] = trio.Event()
        try:
            yield True
        finally:
            del self._pulled[stage, partition]
            event.set()

    async def pulled(self, stage: int, partition: int) -> None:
        """Returns once nobody brings the outputs of that unit here any more."""
        while (event := self._pulled.get((stage, partition))) is not None:
            await event.wait()

    async def messages(
        self, units: Sequence[Work], sent: int, lost: Callable[[Work], None], *, keep: bool
    ) -> list[Any]:
        """The messages that bring these units to somebody who has `sent` actions' results already.

        `lost` is called for a unit that cannot be sent, since what it reads is lost. `keep`: large outputs may be kept
        there, for others to read. Raises StorageError.
        """
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
                unit, before = await self._unit(plan, one, keep=keep)
            except (StorageError, Lost) as error:
                if self._plan is not plan:
                    return []
                if isinstance(error, StorageError):
                    raise
                lost(one)
                continue
            said += before
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

    async def _unit(self, plan: Plan, one: Work, *, keep: bool) -> tuple[work.Unit, list[Any]]:
        """A unit, and what is to be said before it."""
        stage = plan.stages[one.stage]
        place = one.unit, plan.action, one.stage, one.partition, bytes.fromhex(plan.digest)
        keep = keep and stage.outputs > 0
        if stage.source is None:
            return await self._unit_that_reads(stage, one, place, keep=keep)
        kind = stage.source.kind
        if one.stage in self._partitions:
            parts = tuple(map(self._piece, self._partitions[one.stage][one.partition]))
            return work.Unit(*place, kind=kind, pieces=parts, results=plan.action, keep=keep), []
        first, count = items(stage.source.count or 0, stage.partitions or 1, one.partition)
        return work.Unit(*place, kind=kind, first=first, count=count, results=plan.action, keep=keep), []

    async def _unit_that_reads(
        self, stage: Stage, one: Work, place: tuple[bytes, int, int, int, bytes], *, keep: bool
    ) -> tuple[work.Unit, list[Any]]:
        """A unit of outputs of others: what is here goes with it, of the rest it hears where it is."""
        here: list[tuple[int, int, int]] = []
        elsewhere: dict[int, Remote] = {}
        reads = tuple(self._counts[read] for read in stage.reads)
        number = 0
        for read in stage.reads:
            for partition in range(self._counts[read]):
                await self.pulled(read, partition)
                remote = self._outputs.remote(read, partition)
                if remote is None:
                    here.append((read, partition, one.partition))
                else:
                    elsewhere[number] = remote
                number += 1
        outputs = iter(await self._outputs.get(here))
        sizes: list[int] = []
        joined: list[bytes] = []
        for at in range(number):
            if at in elsewhere:
                sizes.append(elsewhere[at].sizes[one.partition])
            else:
                output = next(outputs)
                sizes.append(len(output))
                joined.append(output)
        body = b"".join(joined)
        before: list[Any] = list(self._places(one, elsewhere))
        if len(body) > INLINE:
            before += pieces(one.unit, body)
            body = b""
        results = place[1]
        return work.Unit(*place, reads=reads, sizes=tuple(sizes), inline=body, results=results, keep=keep), before

    def _places(self, one: Work, elsewhere: Mapping[int, Remote]) -> Iterator[work.Reads]:
        """Where the unit finds what is elsewhere. Who has left since is nowhere: then the unit asks in vain."""
        holders: dict[PeerId, work.Holder] = {}
        kept: list[work.KeptOutput] = []
        for number, remote in elsewhere.items():
            if remote.holder not in holders:
                if len(holders) == work.MAX_HOLDERS:
                    yield work.Reads(one.unit, tuple(kept), tuple(holders.values()))
                    holders, kept = {}, []
                address = self._address_of(remote.holder) or NOWHERE
                holders[remote.holder] = work.Holder(remote.holder, address.host, address.port)
            holder = list(holders).index(remote.holder)
            kept.append(work.KeptOutput(number, remote.unit, remote.digest, one.partition, holder))
            if len(kept) == work.MAX_UNITS:
                yield work.Reads(one.unit, tuple(kept), tuple(holders.values()))
                holders, kept = {}, []
        if kept:
            yield work.Reads(one.unit, tuple(kept), tuple(holders.values()))

    def _piece(self, piece: Piece) -> work.Piece:
        path, _ = self._inputs[piece.input].files[piece.file]
        return work.Piece(piece.input, path, piece.offset, piece.length)
