"""Shares that are read by ranges: from the library, from the user's fetch, or from fetches of what is needed.

All readers of a share use one `OpenShare`. What was fetched is kept for later readers, whole or in part, within a
`CacheBudget`. While a share is read, it is served too, so that volunteers get the inputs of a job from each other as
well as from the job's owner.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import trio

from p2p.concurrency.throttle import Throttle
from p2p.errors import NotFound, StorageError
from p2p.ids import ShareId
from p2p.progress import Progress
from p2p.sharing.fetching.fetch import Fetched
from p2p.sharing.fetching.supply import GaveWay, Options
from p2p.sharing.reading.alongside import Alongside
from p2p.sharing.reading.at_hand import AtHand
from p2p.sharing.reading.budget import CacheBudget
from p2p.sharing.reading.deps import Deps
from p2p.sharing.reading.joint_fetch import JointFetch
from p2p.sharing.reading.local_copy import LocalCopy
from p2p.sharing.reading.open_share import OpenShare, Parts
from p2p.sharing.reading.partial import CHUNK_TIMEOUT_S, READING, PartialFetch
from p2p.store.cache import Cache
from p2p.store.library import SharedFiles
from p2p.wire.link import Link, PeerHint

RELEASE_TIMEOUT_S = 10.0


class OpenShares:
    """The shares being read on this peer, by its own jobs or by other peers' jobs; each is opened once for all readers.

    `folder` is where fetched shares are kept.
    """

    def __init__(self, deps: Deps, folder: Path, most_bytes: int, patience_s: float = CHUNK_TIMEOUT_S) -> None:
        self._deps = deps
        self.most_bytes = most_bytes
        """The most bytes of disk that the shares take, as far as possible."""
        self.patience_s = patience_s
        self._held: dict[ShareId, OpenShare] = {}
        self.folder = folder
        self._at_hand = AtHand()
        self._cache = Cache(self.folder)
        self._budget = CacheBudget(deps, self._cache, self._held, most_bytes)
        self._begun, self._to_run = trio.open_memory_channel[PartialFetch](float("inf"))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetches what is read, until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            await READING.contain(self._budget.trim)
            async for partial in self._to_run:
                nursery.start_soon(partial.run)

    @property
    def taken_bytes(self) -> int:
        """How many bytes of disk the shares take: those that jobs are reading, and those kept for later jobs."""
        return self._budget.taken

    def open(self, wanted: ShareId, hints: Sequence[PeerHint], trackers: Sequence[str] = ()) -> OpenShare:
        """Opens the share for one more job, which must `release` it. Nothing is fetched before it is read."""
        held = self._held.get(wanted)
        if held is None:
            held = OpenShare(wanted, self._deps.disk, self._open, self._budget.has, self._budget.make)
            self._held[wanted] = held
        held.users += 1
        held.add(hints, trackers)
        return held

    async def release(self, *used: OpenShare) -> None:
        """Releases the shares for one job. Past the bound, drops shares that no job needs, least recently used first.

        Runs to its end, within RELEASE_TIMEOUT_S, even if cancelled: nothing else would release the shares.
        """
        idle = []
        for held in used:
            held.users -= 1
            if not held.users:
                del self._held[held.share]
                idle.append(held)
                if held.parts is not None:
                    held.parts.stop()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + RELEASE_TIMEOUT_S):
            async with self._budget.dropping:
                for held in idle:
                    if held.parts is not None:
                        await held.parts.close()
                        with suppress(StorageError):
                            await self._deps.disk.run(self._cache.touch, held.share)
            if idle:
                await self._budget.trim()

    async def holds(self, wanted: ShareId) -> bool:
        """Whether all of the share is here."""
        held = self._held.get(wanted)
        if held is not None and held.parts is not None and held.parts.usable and held.parts.whole:
            return True
        files = await self._from_library(wanted)
        return files is not None and files.whole

    def being_read(self, wanted: ShareId) -> bool:
        """Whether the share is being fetched for jobs, and not for the user."""
        held = self._held.get(wanted)
        partial = None if held is None else held.partial
        return partial is not None and self._deps.swarms.progress_of(wanted) is partial.progress

    async def fetch(self, link: Link, hints: Sequence[PeerHint], options: Options, progress: Progress) -> Fetched:
        """Fetches a whole share to the user's folder, jointly with its readers, if it has any.

        Raises as `Fetching.fetch` does.
        """
        fetching = self._deps.fetching
        if not self.being_read(link.share_id):
            with suppress(GaveWay):
                return await fetching.fetch(link, hints, options, progress)
        held = self.open(link.share_id, [*hints, *link.peers], link.trackers)
        throttle = options.throttle or Throttle(options.limit_bytes_per_s)
        joint = JointFetch(self._deps, held, self.release, options.folder, progress, throttle)
        return await fetching.fetch(link, hints, options, progress, joint)

    def ask_too(self, wanted: ShareId, hints: Sequence[PeerHint]) -> None:
        """Has more peers asked for a share that is being read or fetched."""
        if (supply := self._deps.fetching.under_way.get(wanted)) is not None:
            for hint in hints:
                supply.add(hint)
        if (held := self._held.get(wanted)) is not None:
            held.add(hints)

    async def entered(self, share: ShareId) -> None:
        """Takes what reads or fetches the share to the copy, or the part of it, that is in the library from now on."""
        held, supply = self._held.get(share), self._deps.fetching.under_way.get(share)
        if held is None and supply is None:
            return
        files = await self._from_library(share)
        if held is not None:
            held.in_library = files
        if files is None or not files.whole:
            return
        if held is not None and held.partial is not None:
            held.partial.hand_over()
        if supply is not None:
            supply.give_way()

    async def _open(self, held: OpenShare) -> Parts:
        """Decides from what the share is read from now on. Raises StorageError, NotFound."""
        if self._deps.library.is_restricted(held.share):
            raise NotFound("nobody may read that share by its ranges")  # a job of anybody may name it
        async with self._budget.dropping:
            files = await self._from_library(held.share)
            await self._deps.disk.run(self._cache.touch, held.share)
        if files is not None and files.whole:
            return LocalCopy(files, self._deps.disk, self._at_hand)
        if (supply := self._deps.fetching.under_way.get(held.share)) is not None:
            for hint in held.hints:
                supply.add(hint)
            for tracker in held.trackers:
                supply.ask(tracker)
            return Alongside(supply, self.patience_s)
        held.in_library = files
        folder = self._cache.folder(held.share)
        known = [*held.hints], [*held.trackers]
        partial = PartialFetch(self._deps, held.share, folder, *known, self.patience_s, self.most_bytes, held.nearby)
        self._budget.taken_up(held.share)
        self._begun.send_nowait(partial)
        return partial

    async def _from_library(self, wanted: ShareId) -> SharedFiles | None:
        def look() -> SharedFiles | None:
            row = self._deps.library.share(wanted)
            if row is None or row.stale or self._deps.library.is_restricted(wanted):
                return None
            return SharedFiles(self._deps.library, wanted)

        with suppress(NotFound):  # unshared in the meantime
            return await self._deps.disk.run(look)
        return None
