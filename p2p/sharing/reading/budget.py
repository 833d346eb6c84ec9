"""The disk space of shares that are read as inputs of jobs: those being read now, and those kept for later jobs.

When the bound is reached, shares that no job needs are dropped first, least recently used first. After them go the
fetched parts of shares that jobs do need, unless units are reading them now. Units that need them later refetch them.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from p2p.errors import NotFound, StorageError
from p2p.ids import ShareId, short
from p2p.sharing.reading.deps import Deps
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.reading.partial import PartialFetch
from p2p.store.cache import Cache

logger = logging.getLogger(__name__)


class CacheBudget:
    """Keeps all shares within `most_bytes` of disk, where possible. `held` are the shares that jobs are reading."""

    def __init__(self, deps: Deps, cache: Cache, held: Mapping[ShareId, OpenShare], most_bytes: int) -> None:
        self._deps = deps
        self._cache = cache
        self._held = held
        self._most = most_bytes
        self._resting: dict[ShareId, int] = {}
        """How many bytes of disk each kept share takes, for those that are not being fetched."""
        self._making = trio.Lock()
        self.dropping = trio.Lock()
        """Held while shares are dropped, and while it is decided from where a share is read."""

    @property
    def taken(self) -> int:
        """How many bytes of disk all shares take, including bytes asked for that are still to come."""
        return sum(held.taken for held in self._held.values()) + sum(self._resting.values())

    def has(self, more: int) -> bool:
        """Whether `more` bytes would still fit within the bound."""
        return self.taken + more <= self._most

    async def make(self, more: int) -> None:
        """Drops what is not needed now, until `more` bytes fit within the bound or nothing is left to drop."""
        if not more or self.has(more):
            return
        async with self._making:
            if not self.has(more):
                await self.trim(more)
            while not self.has(more):
                in_use = [held for held in self._held.values() if held.taken and held.parts is not None]
                if not in_use:
                    return  # units are reading more than the bound at the moment
                fullest = max(in_use, key=lambda held: held.taken)
                await fullest.empty(partial(self._drop_read, fullest))

    def taken_up(self, wanted: ShareId) -> None:
        """Notes that the share is being fetched again: from now on, its `OpenShare` counts its disk space."""
        self._resting.pop(wanted, None)

    async def trim(self, more: int = 0) -> None:
        """Drops shares that no job needs, until `more` bytes fit within the bound."""
        async with self.dropping:
            try:
                kept = await self._deps.disk.run(self._cache.all)
                fetched = {share for share, held in self._held.items() if isinstance(held.parts, PartialFetch)}
                self._resting = {cached.share: cached.size for cached in kept if cached.share not in fetched}
                for cached in kept:
                    if self.has(more):
                        break
                    if cached.share not in self._held:
                        await self._drop(cached.share)
                        self._resting.pop(cached.share, None)
            except StorageError as error:
                logger.warning("%s", error)

    async def _drop_read(self, held: OpenShare) -> None:
        async with self.dropping:
            if self._held.get(held.share) is held:
                await self._drop(held.share)

    async def _drop(self, wanted: ShareId) -> None:
        deps, folder = self._deps, self._cache.folder(wanted)
        row = await self._deps.disk.run(deps.library.share, wanted)
        if row is not None and row.fetched and any(Path(path).is_relative_to(folder) for path in row.paths):
            with suppress(NotFound):
                await deps.sharing.unshare(wanted)
        await self._deps.disk.run(deps.records.drop, wanted, folder)
        await self._deps.disk.run(self._cache.drop, wanted)
        logger.info("input %s is no longer kept", short(wanted))
