"""What this peer offers: the shares that it serves and those that it is fetching, as they are announced to others."""

from contextlib import suppress
from itertools import islice

import msgspec
import trio

from p2p.core.shares.coverage import coverage
from p2p.core.shares.manifest import EntryKind
from p2p.errors import BadData, NotFound, StorageError
from p2p.ids import ShareId
from p2p.paths import PathKind, kind_of
from p2p.sharing.swarm import Swarm
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.library import Library, SharedRow
from p2p.wire.records import MAP_BYTES, WHOLE
from p2p.wire.tracker import MAX_CONTENTS, Content


class InventoryEntry(msgspec.Struct, frozen=True):
    """A share that is served or being fetched; sizes are in bytes."""

    share: ShareId
    name: str
    size: int
    files: int
    listed: bool
    held: bytes
    """Which ranges of its chunks this peer has (`core.shares.coverage`)."""
    contents: tuple[Content, ...] = ()
    """The first few of its files, if it is a listed folder."""

    @property
    def whole(self) -> bool:
        return self.held == WHOLE


class Inventory:
    """Lists the shares that this peer offers to everybody. Caches what was read from their manifests."""

    def __init__(self, library: Library, disk: Disk, swarms: Swarms) -> None:
        self._library = library
        self._disk = disk
        self._swarms = swarms
        self._contents: dict[ShareId, tuple[Content, ...]] = {}

    async def all(self, *, contents: bool = False) -> list[InventoryEntry]:
        """Returns everything that is offered: fetches first, then shares from the newest.

        Includes `contents` only on request, because reading them takes long.
        """
        fetching = [
            InventoryEntry(swarm.share_id, swarm.holding.layout.manifest.root.name, 0, 0, False, _held(swarm))
            for swarm in self._swarms
            if swarm.sink is not None and not self._library.is_restricted(swarm.share_id)
        ]
        # Until the manifest of a fetch is here, all that is known is that this peer wants the share.
        fetching += [
            InventoryEntry(share, "", 0, 0, False, bytes(MAP_BYTES))
            for share, _ in self._swarms.fetches
            if self._swarms.get(share) is None and not self._library.is_restricted(share)
        ]
        held = {swarm.share_id: _held(swarm) for swarm in self._swarms}
        return await self._disk.run(self._look_up, fetching, held, contents)

    def _look_up(
        self, fetching: list[InventoryEntry], held: dict[ShareId, bytes], contents: bool
    ) -> list[InventoryEntry]:
        """Adds the shares of the library to the fetches. Blocks: thousands of shares take a while."""
        under_way = {offered.share for offered in fetching}
        offered = list(fetching)
        known: dict[ShareId, tuple[Content, ...]] = {}
        for row in self._library.shares():
            share = ShareId(row.id)
            if share in under_way or self._library.is_restricted(share):
                continue
            listed = not row.unlisted
            if contents and listed:
                known[share] = self._contents[share] if share in self._contents else self._read(row)
            has = held.get(share, bytes(MAP_BYTES) if row.stale else WHOLE)
            offered.append(InventoryEntry(share, row.name, row.size, row.files, listed, has, known.get(share, ())))
        self._contents = known
        return offered

    def _read(self, row: SharedRow) -> tuple[Content, ...]:
        trio.from_thread.check_cancelled()
        if row.files <= 1 and not any(map(_is_folder, row.paths)):
            return ()  # for a share of one file, the share's name is the file's
        try:
            manifest = self._library.manifest(ShareId(row.id))
        except (NotFound, BadData):
            return ()
        files = (entry for entry in manifest.entries if entry.kind is EntryKind.FILE)
        return tuple(Content("/".join(entry.path)[:1024], entry.size) for entry in islice(files, MAX_CONTENTS))


def _is_folder(path: str) -> bool:
    with suppress(StorageError):
        return kind_of(path) is PathKind.FOLDER
    return False


def _held(swarm: Swarm) -> bytes:
    return coverage(swarm.holding.held, swarm.holding.layout.chunks)
