"""Outputs that units read, as an owner hands them on: they go with the unit, or it is told where they are kept."""

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
    """What a unit reads, as in `work.Unit`: outputs by stage, their sizes, and those that go with it."""

    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    inline: bytes
    before: list[work.Reads | work.Bytes]
    """Messages that go before the unit."""


class OutputShuffle:
    """The outputs of one job's running action. `address_of`: where a volunteer that keeps some can be dialled."""

    def __init__(self, outputs: Outputs, address_of: Callable[[PeerId], Address | None]) -> None:
        self._outputs = outputs
        self._address_of = address_of
        self._plan: Plan | None = None
        self._counts: Sequence[int] = ()
        self._pulled: dict[tuple[int, int], trio.Event] = {}

    def begin(self, plan: Plan, counts: Sequence[int]) -> None:
        """The action begins; `counts` are the units of each stage."""
        self._plan, self._counts = plan, counts

    def end(self) -> None:
        """The action is over, and its outputs are about to be forgotten."""
        self._plan = None

    def elsewhere(self, one: Work) -> list[Remote]:
        """The outputs that this unit reads from the volunteers that keep them."""
        places = self._places(one)
        return [remote for place in places if (remote := self._outputs.remote(*place)) is not None]

    async def read_by(self, one: Work) -> Read:
        """What a unit that reads outputs is given.

        Raises StorageError; OutputsLost if some are lost, or the action is over.
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
        """Stage and partition of the units whose outputs this one reads, in their order."""
        reads = () if self._plan is None else self._plan.stages[one.stage].reads
        return [(read, partition) for read in reads for partition in range(self._counts[read])]

    def _where(self, one: Work, remotes: Sequence[Remote | None]) -> Iterator[work.Reads]:
        """Where the unit finds what is elsewhere. A holder that has left is NOWHERE: the unit asks it in vain."""
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
        """While the body brings the outputs of a unit here, units that read them wait; False: another is at it."""
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
        """Waits until nobody is bringing the outputs of that unit here any more."""
        while (event := self._pulled.get((stage, partition))) is not None:
            await event.wait()
