"""Inputs of jobs: shares of which units read ranges, had from the library or fetched from the swarm as they are needed.

All jobs that read a share do so through one `Held`. What was fetched is kept for later jobs, whole or in part, as far
as there is `Room`; while a job needs it, it is served too: so inputs come from the other volunteers as much as from the
owner.
"""

from collections.abc import Sequence
from contextlib import suppress

import trio

from p2p.errors import NotFound, StorageError
from p2p.ids import ShareId
from p2p.peer_context import Local
from p2p.sharing.reading.budget import Room
from p2p.sharing.reading.local_copy import Whole
from p2p.sharing.reading.open_share import Held, Parts
from p2p.sharing.reading.partial import PATIENCE_S, Ranges
from p2p.store.cache import Cache
from p2p.store.library import SharedFiles
from p2p.wire.link import PeerHint

FOLDER = "volunteer"
RELEASE_S = 10.0


class Inputs:
    """The inputs that this peer has or is fetching for jobs, its own and those of others."""

    def __init__(self, local: Local, most_bytes: int, patience_s: float = PATIENCE_S) -> None:
        self._local = local
        self.most_bytes = most_bytes
        """That they may take of the disk, as far as that is possible."""
        self.patience_s = patience_s
        self._held: dict[ShareId, Held] = {}
        self.folder = local.home / FOLDER / "inputs"
        self._cache = Cache(self.folder)
        self._room = Room(local, self._cache, self._held, most_bytes)
        self._begun, self._to_run = trio.open_memory_channel[Ranges](float("inf"))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetches what is read, until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            await self._room.trim()
            async for ranges in self._to_run:
                nursery.start_soon(ranges.run)

    @property
    def taken_bytes(self) -> int:
        """That they take of the disk: those that jobs read now, and those kept for later ones."""
        return self._room.taken

    def use(self, wanted: ShareId, hints: Sequence[PeerHint]) -> Held:
        """The share, for one job more; `release` it. Nothing is fetched before something of it is read."""
        held = self._held.get(wanted)
        if held is None:
            held = Held(wanted, self._local.disk, self._open, self._room.has, self._room.make)
            self._held[wanted] = held
        held.users += 1
        held.add(hints)
        return held

    async def release(self, *used: Held) -> None:
        """One job less for each; what is past the bound, and nobody's, is dropped, the longest unused first.

        Seen through, within bounds, even where it is cancelled: nobody else knows of them any more.
        """
        idle = []
        for held in used:
            held.users -= 1
            if not held.users:
                del self._held[held.share]
                idle.append(held)
                if held.parts is not None:
                    held.parts.stop()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + RELEASE_S):
            async with self._room.dropping:
                for held in idle:
                    if held.parts is not None:
                        await held.parts.close()
                        with suppress(StorageError):
                            await trio.to_thread.run_sync(self._cache.touch, held.share)
            if idle:
                await self._room.trim()

    async def holds(self, wanted: ShareId) -> bool:
        """Whether all of the share is here."""
        held = self._held.get(wanted)
        if held is not None and held.parts is not None and held.parts.usable and held.parts.whole:
            return True
        return await self._from_library(wanted) is not None

    def being_read(self, wanted: ShareId) -> bool:
        """Whether jobs, and nobody else, are having the share fetched."""
        held = self._held.get(wanted)
        ranges = None if held is None else held.ranges
        return ranges is not None and self._local.fetching.get(wanted) is ranges.progress

    async def _open(self, held: Held) -> Parts:
        """Where the share is read from, from now on. Raises StorageError."""
        async with self._room.dropping:
            files = await self._from_library(held.share)
            await trio.to_thread.run_sync(self._cache.touch, held.share)
        if files is not None:
            return Whole(files)
        folder = self._cache.folder(held.share)
        ranges = Ranges(self._local, held.share, folder, [*held.hints], self.patience_s, self.most_bytes)
        self._room.taken_up(held.share)
        self._begun.send_nowait(ranges)
        return ranges

    async def _from_library(self, wanted: ShareId) -> SharedFiles | None:
        def look() -> SharedFiles | None:
            row = self._local.library.share(wanted)
            if row is None or row.stale:
                return None
            files = SharedFiles(self._local.library, wanted)
            return files if files.held == files.layout.everything else None

        with suppress(NotFound):  # unshared meanwhile
            return await trio.to_thread.run_sync(look, limiter=self._local.disk)
        return None
