"""Calls about shares: dials peers that lack chunks of a share, offers it, and serves what they ask for in reply."""

import logging

import trio

from p2p.errors import PeerError
from p2p.ids import ID_BYTES, PeerId, ShareId, short
from p2p.net.router import Router
from p2p.reach.calls import MAX_CALLS
from p2p.reach.contacts import Contacts
from p2p.sharing.readers import Readers
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.library import Library
from p2p.wire import messages
from p2p.wire.address import Address
from p2p.wire.tracker import provider_key

logger = logging.getLogger(__name__)

WORTH_WHILE_S = 10.0
"""A call that lasted this long was useful to the peer: the next one need not wait."""
KEYS_LAST_S = 5.0


class ShareCalls:
    """The `Subject` of calls about shares, which are named by their ids or their provider keys."""

    most = MAX_CALLS

    def __init__(
        self, contacts: Contacts, library: Library, disk: Disk, swarms: Swarms, readers: Readers, router: Router
    ) -> None:
        self._contacts = contacts
        self._library = library
        self._disk = disk
        self._swarms = swarms
        self._readers = readers
        self._router = router
        self._shares: dict[bytes, ShareId] = {}
        self._shares_at = float("-inf")

    async def resolve(self, named: bytes) -> ShareId | None:
        """The share, if it is held or fetched here. Raises StorageError."""
        if len(named) == ID_BYTES:
            share = ShareId(named)
            if self._swarms.get(share) is not None:
                return share
            row = await self._disk.run(self._library.share, share)
            return None if row is None else share
        for swarm in self._swarms:
            if provider_key(swarm.share_id) == named:
                return swarm.share_id
        if named not in self._shares and trio.current_time() - self._shares_at > KEYS_LAST_S:
            self._shares = await self._disk.run(self._by_key)
            self._shares_at = trio.current_time()
        return self._shares.get(named)

    def is_wanted(self, about: bytes, peer: PeerId) -> bool:
        """Whether a call would be useful: not if the share is already being exchanged with that peer, or not for it."""
        share = ShareId(about)
        return self._readers.may_read(share, peer) and not self._swarms.is_exchanging(share, peer)

    async def call(self, address: Address, peer: PeerId, about: bytes) -> bool:
        """Dials a peer, offers it a share, and serves it until the connection ends.

        Returns whether the call lasted for a while. Raises PeerError; Refused if the peer does not want the share.
        """
        began = trio.current_time()
        connection = await self._contacts.dial(address, peer)
        try:
            await connection.send(messages.Offer(share=about))
            await self._router.converse(connection)
        except PeerError as error:
            if trio.current_time() - began < WORTH_WHILE_S:
                raise
            logger.debug("called %s about %s: %s", short(peer), short(about), error)
        finally:
            connection.close()
        return trio.current_time() - began >= WORTH_WHILE_S

    def _by_key(self) -> dict[bytes, ShareId]:
        """The shares of the library by their provider keys. Blocking."""
        return {provider_key(ShareId(row.id)): ShareId(row.id) for row in self._library.shares()}
