"""A share that the user is fetching to a folder, read at the same time: from the files and `.part` files of that fetch.

Chunks that a reader waits for are fetched before all others. Nothing is fetched twice, and nothing is kept elsewhere.
When the fetch ends, in whatever way, the share is opened again, and readers go on with what is opened then.
"""

from contextlib import AbstractContextManager

import trio

from p2p.core.shares.layout import Layout
from p2p.errors import NotFound, ShoalError, StorageError
from p2p.formats import format_time
from p2p.sharing.fetching.supply import SwarmSupply
from p2p.sharing.reading.waits import Waits
from p2p.store.stamps import Stamp
from p2p.wire.link import PeerHint


class Alongside:
    """The user's fetch, for readers. It has the same methods as a `PartialFetch`, and takes no disk space of its own.

    Of files that the user did not select, a reader asks in vain: the fetch gives way, and goes on as a joint fetch.
    """

    def __init__(self, supply: SwarmSupply, patience_s: float) -> None:
        self._supply = supply
        self._patience_s = patience_s
        self._received_before = supply.progress.received
        self._waits = Waits()
        self.whole = False
        """Never: when all is here, the share is in the library."""
        self.taken = 0

    @property
    def usable(self) -> bool:
        return not self._supply.ended.is_set()

    @property
    def handed_over(self) -> bool:
        """Whether reads that fail begin again with what the share is read from now."""
        return self._supply.ended.is_set()

    @property
    def trouble(self) -> str:
        return self._supply.progress.trouble

    @property
    def fetched(self) -> int:
        """How many bytes came over the network since the share was opened."""
        return self._supply.progress.received - self._received_before

    @property
    def starved_s(self) -> float:
        return self._waits.longest_s

    def add(self, hint: PeerHint) -> None:
        """Adds an address where the share may be found."""
        self._supply.add(hint)

    def ask(self, tracker: str) -> None:
        """Adds a tracker that may know who has the share."""
        self._supply.ask(tracker)

    async def layout(self) -> Layout:
        """The layout of the share, once the fetch writes its files. Raises NotFound if that takes too long."""
        with trio.move_on_after(self._patience_s), self._waits.one():
            await self._supply.opened.wait()
        if self._supply.receiver is None:
            raise self._nobody()
        return self._supply.receiver.layout

    def original(self, entry: int) -> int:
        assert self._supply.target is not None
        return self._supply.target.original(entry)

    def more(self, chunks: int) -> int:
        """Zero: the disk space is that of the user's fetch."""
        return 0

    def want(self, chunks: int) -> None:
        """Has these chunks fetched before others."""
        assert self._supply.receiver is not None
        self._supply.receiver.hurry(chunks)

    async def have(self, chunks: int) -> None:
        """Waits until these chunks are here. Raises ShoalError; NotFound if none comes for a while."""
        supply = self._supply
        assert supply.receiver is not None
        assert supply.target is not None
        if chunks & ~supply.target.wanted:
            supply.give_way()
            await supply.ended.wait()
            raise NotFound("The user's fetch does not get this file.")
        self.want(chunks)
        coming = True
        while coming:
            with trio.move_on_after(self._patience_s) as patience, self._waits.one():
                try:
                    coming = await supply.receiver.arrived(chunks)
                except ShoalError:
                    await supply.ended.wait()  # soon: then the share is opened again
                    raise
            if patience.cancelled_caught:
                raise self._nobody()

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        """Gives a descriptor of the entry's file. Only chunks that are here may be read from it. Raises OSError."""
        assert self._supply.target is not None
        return self._supply.target.reading(entry)

    async def changed(self, entry: int, error: StorageError) -> bool:
        """Whether the fetch has ended, so that its files are closed. What others did to them is for the fetch."""
        await trio.lowlevel.checkpoint()
        return self.handed_over

    def stop(self) -> None:
        """Does nothing: the fetch is the user's."""

    async def close(self) -> None:
        """Does nothing: the fetch is the user's."""
        await trio.lowlevel.checkpoint()

    def _nobody(self) -> NotFound:
        trouble = f" ({self.trouble})" if self.trouble else ""
        return NotFound(f"Nobody had the input for {format_time(self._patience_s)}{trouble}.")
