"""What this peer offers: the shares it serves and those it is fetching, as others are told of them."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice

import trio

from p2p.core.coverage import coverage
from p2p.core.manifest import Kind
from p2p.errors import BadData, NotFound
from p2p.ids import ShareId
from p2p.services.local import Local
from p2p.wire.records import MAP_BYTES, WHOLE
from p2p.wire.tracker import MAX_CONTENTS, Content

MOST_CONTENTS_KEPT = 2000


@dataclass(frozen=True)
class Offered:
    """One share; sizes in bytes."""

    share: ShareId
    name: str
    size: int
    files: int
    listed: bool
    held: bytes
    """Which ranges of its chunks are here (`core.coverage`)."""
    contents: tuple[Content, ...] = ()
    """The first of its files, of a listed folder."""

    @property
    def whole(self) -> bool:
        return self.held == WHOLE


class Offers:
    """Looks up what is offered; remembers what it would have to read a manifest for."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._contents: OrderedDict[ShareId, tuple[Content, ...]] = OrderedDict()

    async def all(self) -> list[Offered]:
        """The newest first, those being fetched before all."""
        local = self._local
        fetching = [
            Offered(share, swarm.holding.layout.manifest.root.name, 0, 0, False, self._held(share))
            for share, swarm in local.swarms.items()
            if swarm.sink is not None
        ]
        # Before its manifest is here nothing is known of a fetch but that it wants the share.
        fetching += [
            Offered(share, "", 0, 0, False, bytes(MAP_BYTES)) for share in local.fetching if share not in local.swarms
        ]
        rows = await trio.to_thread.run_sync(local.library.shares)
        under_way = {offered.share for offered in fetching}
        offered = list(fetching)
        for row in rows:
            share = ShareId(row.id)
            if share in under_way:
                continue
            listed = not row.unlisted
            contents = await self._contents_of(share) if listed and row.files > 1 else ()
            held = bytes(MAP_BYTES) if row.stale and share not in local.swarms else self._held(share)
            offered.append(Offered(share, row.name, row.size, row.files, listed, held, contents))
        return offered

    def _held(self, share: ShareId) -> bytes:
        swarm = self._local.swarms.get(share)
        return WHOLE if swarm is None else coverage(swarm.holding.held, swarm.holding.layout.chunks)

    async def _contents_of(self, share: ShareId) -> tuple[Content, ...]:
        known = self._contents.get(share)
        if known is None:
            known = await trio.to_thread.run_sync(self._read, share, limiter=self._local.disk)
            self._contents[share] = known
            if len(self._contents) > MOST_CONTENTS_KEPT:
                self._contents.popitem(last=False)
        return known

    def _read(self, share: ShareId) -> tuple[Content, ...]:
        try:
            manifest = self._local.library.manifest(share)
        except (NotFound, BadData):
            return ()
        files = (entry for entry in manifest.entries if entry.kind is Kind.FILE)
        return tuple(Content("/".join(entry.path)[:1024], entry.size) for entry in islice(files, MAX_CONTENTS))
