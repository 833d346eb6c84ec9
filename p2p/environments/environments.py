"""The environments on this machine: this user's own, and those of owners that this peer is a member for.

What was fetched is in a folder of its own for each share, served on to those who may read it, and removed when room is
needed, that which was used longest ago first.
"""

import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import trio

from p2p import causes, private
from p2p.core.shares.manifest import ShareLimits
from p2p.environments.binding import Bound, bound
from p2p.environments.examining import examine
from p2p.environments.packs import Need, Packs
from p2p.errors import BadData, ConfigError, NotFound, StorageError
from p2p.ids import ShareId
from p2p.progress import Progress
from p2p.sharing.fetching.fetch import Fetching
from p2p.sharing.fetching.supply import Options
from p2p.sharing.readers import Readers
from p2p.sharing.share import Sharing
from p2p.sharing.swarms import Swarms
from p2p.store.cache import Cache
from p2p.store.disk import Disk
from p2p.store.library import Library, SharedFiles
from p2p.wire.link import Link, PeerHint

MAX_FETCHED_BYTES = 32 * 1024**3
"""How much room fetched environments take, apart from those in use, and the most that one of them may take."""
MAX_FILES = 300_000
"""The most files and folders of one environment."""
PATIENCE_S = 60.0
"""How long a fetch waits for something to come."""


class Own(msgspec.Struct, frozen=True):
    """An environment of this peer's user: the share that members fetch, and what of it is seen where."""

    share: ShareId
    bound: Bound


class Environments:
    """Packs, fetches and keeps environments. `folder` is where the fetched ones are."""

    def __init__(
        self,
        packs: Packs,
        folder: Path,
        library: Library,
        disk: Disk,
        readers: Readers,
        sharing: Sharing,
        swarms: Swarms,
        fetching: Fetching,
        most_bytes: int = MAX_FETCHED_BYTES,
    ) -> None:
        self.packs = packs
        self._folder = folder
        self._library = library
        self._disk = disk
        self._readers = readers
        self._sharing = sharing
        self._swarms = swarms
        self._fetching = fetching
        self.most_bytes = most_bytes
        self._cache = Cache(folder)
        self._used: Counter[ShareId] = Counter()
        self._turns: defaultdict[ShareId, trio.Lock] = defaultdict(trio.Lock)

    @asynccontextmanager
    async def own(
        self, source: str, progress: Progress, include: Sequence[str] = (), need: Need | None = None
    ) -> AsyncIterator[Own]:
        """The user's environment at a path, packed if it has changed, kept while the body runs. Raises ShoalError.

        `include` is as in `packing.plan`, `need` as in `Packs.pack`.
        """
        made = await self.packs.pack(Path(source), None, include, (), progress, need)
        share = made.shared.share_id
        with self.packs.using(share):
            yield Own(share, await self._disk.run(bound, made.folder))

    @asynccontextmanager
    async def fetched(self, share: ShareId, owner: PeerHint, progress: Progress) -> AsyncIterator[Bound]:
        """The environment that an owner serves: fetched unless it is here, checked, and kept while the body runs.

        `owner` has its id. Other members give parts of it too. Raises ShoalError.
        """
        self._used[share] += 1
        try:
            async with self._turns[share]:
                where = await self._ready(share, owner, progress)
            yield await self._disk.run(bound, where)
        finally:
            self._used[share] -= 1

    async def _ready(self, share: ShareId, owner: PeerHint, progress: Progress) -> Path:
        """The folder of an environment that is whole."""
        was_restricted = self._library.is_restricted(share)
        if not was_restricted:
            # Whoever says what the environment is may not take a share of this peer's user from those who read it.
            if self._swarms.get(share) is not None or await self._disk.run(self._library.share, share) is not None:
                raise ConfigError("The environment that is named is a share that anybody may read.")
            await self._disk.run(self._library.restrict, share)
        try:
            return await self._made_whole(share, owner, progress)
        finally:
            if not was_restricted:
                with trio.CancelScope(shield=True):
                    await self._disk.run(self._lift, share)

    async def _made_whole(self, share: ShareId, owner: PeerHint, progress: Progress) -> Path:
        progress.state = "checking the environment"
        if (where := await self._disk.run_long(self._whole, share)) is None:
            await self._forget(share)
            await self.trim()
            await self._fetch(share, owner, progress)
            progress.state = "checking the environment"
            if (where := await self._disk.run_long(self._whole, share)) is None:
                raise StorageError(f"The environment changes while it is checked, in {self._cache.folder(share)}.")
        await self._swarms.refresh(share)
        await self._disk.run(self._cache.touch, share)
        return where

    def _lift(self, share: ShareId) -> None:
        """Anybody may read what did not come, should it be shared one day. Blocks."""
        if self._library.share(share) is None:
            self._library.lift(share)

    async def _fetch(self, share: ShareId, owner: PeerHint, progress: Progress) -> None:
        if owner.peer_id is None:
            raise ConfigError("An environment is fetched only from a peer whose id is known.")
        options = Options(
            folder=self._cache.folder(share),
            wait_s=PATIENCE_S,
            keep_serving=True,
            limits=ShareLimits(entries=MAX_FILES, size=self.most_bytes),
            naming="fail",
            trust_names=True,
            private=True,
        )
        with self._readers.granted(share, owner.peer_id):
            await self._disk.run(private.close_folder, self._folder)
            await self._fetching.fetch(Link(share, peers=(owner,)), [], options, progress)

    def _whole(self, share: ShareId) -> Path | None:
        """The folder of an environment that is here and as it was sent; None if there is none. Blocks."""
        row = self._library.share(share)
        top = None if row is None else Path(row.paths[0])
        if top is None or top.parent != self._cache.folder(share):
            return None
        try:
            files = SharedFiles(self._library, share)
            is_whole = examine(self._library, files, top, trio.from_thread.check_cancelled)
            if is_whole and row is not None and row.stale:
                self._library.mark_current(share)
        except (BadData, NotFound):
            return None
        except OSError as error:
            raise StorageError(f"Cannot check the environment in {top}: {causes.explained(error)}") from error
        return top if is_whole else None

    async def _forget(self, share: ShareId) -> None:
        """Removes an environment that is not as it should be, or not all here any more. A fetch of it can go on."""
        row = await self._disk.run(self._library.share, share)
        if row is not None and Path(row.paths[0]).parent == self._cache.folder(share):
            await self._sharing.unshare(share)
            await self._disk.run_long(shutil.rmtree, self._cache.folder(share), True)

    async def trim(self) -> None:
        """Removes environments that are not in use, until the others are within the bound."""
        kept = await self._disk.run_long(self._cache.all)
        taken = sum(one.size for one in kept)
        for one in kept:
            if taken <= self.most_bytes:
                break
            if not self._used[one.share]:
                with suppress(NotFound):
                    await self._sharing.unshare(one.share)
                await self._disk.run_long(shutil.rmtree, self._cache.folder(one.share), True)
                taken -= one.size
