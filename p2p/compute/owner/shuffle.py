"""How an owner passes on outputs that units read: it sends them with the unit, or says where they are kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import trio

from p2p.compute.execution.unit import pieces
from p2p.compute.owner.outputs import INLINE, Outputs, OutputsLost, Remote
from p2p.core.compute.attempts import Work
from p2p.core.compute.plan import Plan
from p2p.ids import PeerId
from p2p.wire import work
from p2p.wire.address import Address

NOWHERE = Address("127.0.0.1", 1)


class Read(NamedTuple):
    """What a unit reads, as in `work.Unit`: how many outputs of each stage, their sizes, and the bytes sent with it."""

    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    inline: bytes
    before: list[work.Reads | work.Bytes]
    """The messages that are sent before the unit."""


class OutputShuffle:
    """Determines how each unit of one job's running action gets the outputs that it reads.

    `address_of` returns where a volunteer that keeps outputs can be dialled.
    """

    def __init__(self, outputs: Outputs, address_of: Callable[[PeerId], Address | None]) -> None:
        self._outputs = outputs
        self._address_of = address_of
        self._plan: Plan | None = None
        self._counts: Sequence[int] = ()
        self._pulled: dict[tuple[int, int], trio.Event] = {}

    def begin(self, plan: Plan, counts: Sequence[int]) -> None:
        """Begins an action; `counts` are the numbers of units of its stages."""
        self._plan, self._counts = plan, counts

    def end(self) -> None:
        """Ends the action, whose outputs are about to be forgotten."""
        self._plan = None

    def elsewhere(self, one: Work) -> list[Remote]:
        """Returns the outputs that this unit reads from the volunteers that keep them."""
        places = self._places(one)
        return [remote for place in places if (remote := self._outputs.remote(*place)) is not None]

    async def read_by(self, one: Work) -> Read:
        """Returns what a unit that reads outputs is given.

        Raises StorageError; OutputsLost if some outputs are lost or the action is over.
        """
        plan, places = self._plan, self._places(one)
        for place in places:
            await self.pulled(*place)
        if plan is None or plan is not self._plan:
            raise OutputsLost("the action is over")
        counts = tuple(self._counts[read] for read in plan.stages[one.stage].reads)
        remotes = [self._outputs.remote(*place) for place in places]
        here = [(*place, one.partition) for place, remote in zip(places, remotes, strict=True) if remote is None]
        outputs = await self._outputs.get(here)
        of_here = iter(outputs)
        sizes = tuple(len(next(of_here)) if remote is None else remote.sizes[one.partition] for remote in remotes)
        before: list[work.Reads | work.Bytes] = [*self._where(one, remotes)]
        body = b"".join(outputs)
        if len(body) > INLINE:
            before += pieces(one.unit, body)
            body = b""
        return Read(counts, sizes, body, before)

    def _places(self, one: Work) -> list[tuple[int, int]]:
        """Returns the stage and partition of each unit whose outputs this one reads, in order."""
        reads = () if self._plan is None else self._plan.stages[one.stage].reads
        return [(read, partition) for read in reads for partition in range(self._counts[read])]

    def _where(self, one: Work, remotes: Sequence[Remote | None]) -> Iterator[work.Reads]:
        """Says where the unit finds outputs that are elsewhere.

        The address of a holder that has left is NOWHERE, so asking it fails.
        """
        holders: dict[PeerId, work.Holder] = {}
        kept: list[work.KeptOutput] = []
        for number, remote in enumerate(remotes):
            if remote is None:
                continue
            another = remote.holder not in holders
            if len(kept) == work.MAX_UNITS or (another and len(holders) == work.MAX_HOLDERS):
                yield work.Reads(one.unit, tuple(kept), tuple(holders.values()))
                holders, kept = {}, []
            if remote.holder not in holders:
                address = self._address_of(remote.holder) or NOWHERE
                holders[remote.holder] = work.Holder(remote.holder, address.host, address.port)
            holder = list(holders).index(remote.holder)
            kept.append(work.KeptOutput(number, remote.unit, remote.digest, one.partition, holder))
        if kept:
            yield work.Reads(one.unit, tuple(kept), tuple(holders.values()))

    # Outputs that are brought here.

    @contextmanager
    def pulling(self, stage: int, partition: int) -> Iterator[bool]:
        """Makes units that read a unit's outputs wait while the body brings these here.

        Yields False if another task is doing so.
        """
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
        """Waits while any task is bringing the outputs of that unit here."""
        while (event := self._pulled.get((stage, partition))) is not None:
            await event.wait()
