"""Answers requests about shares from peers with a proven identity: exchanges, manifests, lists of shares, pointers.

If a peer offers a share that a fetch wants, its connection is handed to that fetch, which uses the peer as a source.
"""

from p2p.core.shares import manifest as manifests
from p2p.errors import Refused
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.net.router import Router, refuse
from p2p.reach.contacts import Contacts
from p2p.sharing.exchange import Exchange
from p2p.sharing.readers import Readers
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic
from p2p.store.disk import Disk
from p2p.store.library import Library
from p2p.store.pointers import Pointers
from p2p.wire import messages
from p2p.wire.messages import Failed

MAX_LISTED = 100
_ROOT = -1
_TOO_OLD = "the share has symbolic links, which this version of Shoal cannot fetch: update Shoal"


class ShareHandlers:
    """The handlers of one peer for messages about shares; they are registered with its router."""

    def __init__(
        self,
        library: Library,
        pointers: Pointers,
        disk: Disk,
        contacts: Contacts,
        swarms: Swarms,
        readers: Readers,
        traffic: Traffic,
        router: Router,
    ) -> None:
        self._library = library
        self._pointers = pointers
        self._disk = disk
        self._contacts = contacts
        self._swarms = swarms
        self._readers = readers
        self._traffic = traffic
        self._router = router
        router.add(
            openings={messages.Open: self._open, messages.Offer: self._offer},
            requests={
                messages.GetRoot: self._get_root,
                messages.GetPart: self._get_part,
                messages.Browse: self._browse,
                messages.GetPointer: self._get_pointer,
            },
        )

    async def _open(self, connection: Connection, message: messages.Open) -> bool:
        share = ShareId(message.share)
        try:
            may_read = self._readers.may_read(share, connection.ends.peer_id)
            swarm = await self._swarms.serve(share, connection.ends.remote_host) if may_read else None
        except Refused as refused:
            await connection.send(Failed(reason=str(refused), share=share))
            return False
        if swarm is None:
            await connection.send(Failed(reason=messages.NOT_FOUND, share=share))
            return False
        try:
            await Exchange(connection, swarm, self._contacts, self._traffic, self._disk, self._router.answer).run()
        finally:
            self._swarms.release(swarm)
        return True

    async def _offer(self, connection: Connection, message: messages.Offer) -> bool:
        if connection.ends.dialed:
            await refuse(connection, message)
            return False
        share = ShareId(message.share)
        take = self._swarms.taker(share) if self._readers.may_read(share, connection.ends.peer_id) else None
        if take is None:
            await connection.send(Failed(reason=messages.NOT_FOUND, share=share))
            return False
        try:
            await take(connection)
        finally:
            self._swarms.release(self._swarms.get(share))
        return True

    async def _get_root(self, connection: Connection, message: messages.GetRoot) -> None:
        body = await self._disk.run(self._manifest_root, ShareId(message.share), connection.ends.peer_id)
        if body is not None and messages.LINKS not in connection.ends.hello.features and manifests.has_links(body):
            await connection.send(Failed(reason=_TOO_OLD, share=message.share))
            return
        not_found = Failed(reason=messages.NOT_FOUND, share=message.share)
        await connection.send(not_found if body is None else messages.Root(body))
        if body is not None:
            connection.use.gave((message.share, _ROOT), len(body), len(body))

    async def _get_part(self, connection: Connection, message: messages.GetPart) -> None:
        share, peer = ShareId(message.share), connection.ends.peer_id
        body = await self._disk.run(self._manifest_part, share, message.index, peer)
        not_found = Failed(reason=messages.NOT_FOUND, share=message.share)
        await connection.send(not_found if body is None else messages.Part(message.index, body))
        if body is not None:
            connection.use.gave((message.share, message.index), len(body), len(body))

    def _manifest_root(self, share: ShareId, peer: PeerId) -> bytes | None:
        return self._library.root(share) if self._tells_of(share, peer) else None

    def _manifest_part(self, share: ShareId, index: int, peer: PeerId) -> bytes | None:
        return self._library.part(share, index) if self._tells_of(share, peer) else None

    def _tells_of(self, share: ShareId, peer: PeerId) -> bool:
        return self._library.tells_of(share) and self._readers.may_read(share, peer)

    async def _browse(self, connection: Connection, message: messages.Browse) -> None:
        await connection.send(await self._disk.run(self._listed, message.cursor))

    async def _get_pointer(self, connection: Connection, message: messages.GetPointer) -> None:
        pointer = await self._disk.run(self._pointers.newest, PeerId(message.publisher), message.name)
        if pointer is None or pointer.network is None:
            await connection.send(Failed(reason=messages.NOT_FOUND))
        else:
            await connection.send(messages.PointerIs(pointer.raw))

    def _listed(self, cursor: str) -> messages.Listed:
        start = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 10 else 0
        page = self._library.listed(start, MAX_LISTED + 1)
        more = len(page) > MAX_LISTED
        return messages.Listed(shares=tuple(page[:MAX_LISTED]), cursor=str(start + MAX_LISTED) if more else "")
