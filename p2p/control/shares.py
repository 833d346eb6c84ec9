"""Answers `shoal shares`: lists what this peer shares."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from p2p.advertising.dht_publisher import Publisher
from p2p.control.answers import ShareRow
from p2p.discovery.links import Links, MakeLink
from p2p.ids import PeerId, ShareId, to_text
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.library import Library, SharedRow
from p2p.store.pointers import Pointers
from p2p.wire.records import Pointer
from p2p.wire.tracker import provider_key


class SharesView:
    """Lists the shares of this peer, except the bundles and inputs of jobs, which are in the `passing` folders."""

    def __init__(
        self,
        peer_id: PeerId,
        library: Library,
        disk: Disk,
        pointers: Pointers,
        swarms: Swarms,
        links: Links,
        passing: Sequence[Path],
        publisher: Publisher,
    ) -> None:
        self._peer_id = peer_id
        self._library = library
        self._disk = disk
        self._pointers = pointers
        self._swarms = swarms
        self._links = links
        self._passing = passing
        self._publisher = publisher

    async def rows(self) -> list[SharedRow]:
        """Returns the shares as rows of the library."""
        return await self._disk.run(self._own)

    async def has(self, share: ShareId) -> bool:
        """Whether this is one of the shares, and not one that only some peers may read."""
        row = await self._disk.run(self._library.share, share)
        return row is not None and self._is_own(row) and not self._library.is_restricted(share)

    def _own(self) -> list[SharedRow]:
        return [row for row in self._library.shares() if self._is_own(row)]

    def _is_own(self, row: SharedRow) -> bool:
        return not (row.paths and any(Path(row.paths[0]).is_relative_to(folder) for folder in self._passing))

    async def answer(self) -> list[ShareRow]:
        """Returns the shares as they are shown to the user."""
        return await self._disk.run(self._rows, self._links.maker(), self._links.mutable_maker())

    def _rows(self, link: MakeLink, mutable: Callable[[str], str]) -> list[ShareRow]:
        """Reads the rows. Blocks: thousands of shares take a while."""
        pointed: dict[bytes, list[str]] = {}
        for record in self._pointers.of(self._peer_id):
            assert isinstance(record.payload, Pointer)
            pointed.setdefault(record.payload.share, []).append(mutable(record.payload.name))
        return [self._share(row, link, pointed.get(row.id, ())) for row in self._own()]

    def _share(self, row: SharedRow, link: MakeLink, pointers: Sequence[str]) -> ShareRow:
        swarm = self._swarms.get(ShareId(row.id))
        return ShareRow(
            id=to_text(row.id),
            name=row.name,
            bytes=row.size,
            files=row.files,
            paths=tuple(row.paths),
            unlisted=row.unlisted,
            fetched=row.fetched,
            age_s=round(time.time() - row.created),
            stale=row.stale,
            peers=len(swarm.members) if swarm else 0,
            link=link(ShareId(row.id), row.name, row.size),
            pointers=tuple(pointers),
            dht_full=provider_key(ShareId(row.id)) in self._publisher.without_room,
        )
