"""Shares that are open to be read over HTTP. A share stays open for a while after its last reader.

To open one means to read its manifest, or to fetch that from others: too much for each of the many small ranges in
which tables are read.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from p2p.errors import Refused
from p2p.ids import ShareId
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.reading.open_shares import OpenShares
from p2p.wire.link import PeerHint

IDLE_S = 60.0
MAX_OPEN = 64


class _Opened:
    """A share on the shelf, with how many read it, and when the last of them ended."""

    def __init__(self, held: OpenShare) -> None:
        self.held = held
        self.readers = 0
        self.since = trio.current_time()


class Shelf:
    """The open shares, at most MAX_OPEN; those read least recently are closed for others."""

    def __init__(self, open_shares: OpenShares) -> None:
        self._open_shares = open_shares
        self._opened: dict[ShareId, _Opened] = {}
        """The shares that were opened first come first."""
        self._stirred = trio.Event()

    def __len__(self) -> int:
        return len(self._opened)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Closes shares that nobody reads any more, until cancelled; then all."""
        task_status.started()
        try:
            while True:
                await self._stirred.wait()
                await trio.sleep(IDLE_S / 2)
                await self._close(idle_s=IDLE_S)
                if not self._opened:
                    self._stirred = trio.Event()
        finally:
            await self._open_shares.release(*(opened.held for opened in self._opened.values()))
            self._opened.clear()

    @asynccontextmanager
    async def reading(
        self, share: ShareId, hints: Sequence[PeerHint] = (), trackers: Sequence[str] = ()
    ) -> AsyncIterator[OpenShare]:
        """Opens a share for one reader. `hints` are addresses where it may be found, and `trackers` may know more.

        Raises Refused.
        """
        while (opened := self._opened.get(share)) is None and len(self._opened) >= MAX_OPEN:
            if not await self._close(idle_s=0, most=1):
                raise Refused(f"{MAX_OPEN} shares are being read at the moment. Try again later.")
        if opened is None:
            opened = self._opened[share] = _Opened(self._open_shares.open(share, hints, trackers))
            self._stirred.set()
        opened.held.add(hints, trackers)
        opened.readers += 1
        try:
            yield opened.held
        finally:
            opened.readers -= 1
            opened.since = trio.current_time()

    async def _close(self, idle_s: float, most: int = MAX_OPEN) -> int:
        """Closes shares that have had no reader for so long, those read least recently first. Returns how many."""
        before = trio.current_time() - idle_s
        idle = [share for share, opened in self._opened.items() if not opened.readers and opened.since <= before]
        idle.sort(key=lambda share: self._opened[share].since)
        closing = [self._opened.pop(share).held for share in idle[:most]]
        await self._open_shares.release(*closing)
        return len(closing)
