"""Outgoing sources: dials every address where a share may be found, again and again, each with its own back-off.

A source that comes back is used again; a useless source is tried less and less often, and a banned one not until its
ban is over. The number of connections at a time is bounded, and so is the number of remembered addresses.
"""

import logging
from collections.abc import Callable

import trio

from p2p.backoff import Backoff
from p2p.errors import BadData, OwnAddress, PeerError, Refused
from p2p.ids import PeerId, short
from p2p.log import context
from p2p.net.conversation import conversation
from p2p.progress import Progress
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.incoming import IncomingSources
from p2p.sharing.swarms import Take
from p2p.wire.address import Address
from p2p.wire.link import PeerHint

logger = logging.getLogger(__name__)

MAX_ADDRESSES = 256
MAX_HEARSAY_TRIES = 3
"""How often an address that only another peer named is dialled without success before it makes room for others."""
CONNECTED_CHECK_INTERVAL_S = 0.5


class OutgoingSources:
    """Dials the addresses of one fetch. `talk` conducts the whole conversation with a source; PeerError ends it.

    `given` returns how many correct bytes a peer has sent: only a peer that sent some is dialled again soon.
    """

    def __init__(
        self,
        deps: Deps,
        nursery: trio.Nursery,
        talk: Take,
        connected: Callable[[PeerId], bool],
        given: Callable[[PeerId], int],
        progress: Progress,
        incoming: IncomingSources,
    ) -> None:
        self._deps = deps
        self._nursery = nursery
        self._talk = talk
        self._connected = connected
        self._given = given
        self._progress = progress
        self._incoming = incoming
        self._addresses: dict[Address, PeerHint] = {}
        self._places = trio.CapacityLimiter(deps.max_sources)
        self.useful: dict[PeerId, Address] = {}
        """The peers that could be dialled, and their addresses: these are asked first another time."""

    @property
    def any_known(self) -> bool:
        """Whether there is an address to try."""
        return bool(self._addresses)

    @property
    def any_connected(self) -> bool:
        """Whether any source gives chunks at the moment."""
        return self._progress.sources > 0

    def heard_of(self, hint: PeerHint) -> None:
        """Adds an address that another peer named: it is tried for a while, or for good if a peer answers there."""
        self.add(hint, hearsay=True)

    def add(self, hint: PeerHint, *, hearsay: bool = False) -> None:
        """Adds an address to try. Ignores known addresses, and any beyond the bound."""
        if hint.address not in self._addresses and len(self._addresses) < MAX_ADDRESSES:
            self._addresses[hint.address] = hint
            self._count()
            self._nursery.start_soon(self._pursue, hint, hearsay)

    def not_dialable(self, peer_id: PeerId) -> None:
        """Notes that the peer has the share, but no address at which it can be dialled."""
        self._incoming.ask(peer_id)
        self._count()

    def _count(self) -> None:
        self._progress.known = len(self._addresses) + self._incoming.known

    async def _pursue(self, hint: PeerHint, hearsay: bool) -> None:
        backoff = Backoff()
        context.set(f"source={hint.address}")
        peer_id = hint.peer_id
        while True:
            if peer_id is not None and (self._connected(peer_id) or self._banned(peer_id)):
                await trio.sleep(CONNECTED_CHECK_INTERVAL_S)
                continue
            try:
                async with self._places:
                    peer_id = await self._try(hint, peer_id, backoff)
            except OwnAddress:
                return
            if hearsay and peer_id is None and backoff.failures >= MAX_HEARSAY_TRIES - 1:
                del self._addresses[hint.address]
                self._count()
                return
            await trio.sleep(backoff.failed(self._deps.random.random()))

    async def _try(self, hint: PeerHint, peer_id: PeerId | None, backoff: Backoff) -> PeerId | None:
        """Dials, and uses the connection until it ends. Returns which peer was there. Raises OwnAddress."""
        try:
            connection = await self._deps.presence.contacts.dial(hint.address, hint.peer_id)
        except OwnAddress:
            raise
        except PeerError as error:
            self._note(hint, error)
            return peer_id
        peer_id = connection.ends.peer_id
        before = self._given(peer_id)
        try:
            if self._banned(peer_id):
                raise Refused("it sent wrong bytes before and is banned for a while")
            if not self._connected(peer_id):
                self.useful[peer_id] = hint.address
                async with conversation(connection):
                    await self._talk(connection)
        except PeerError as error:
            if isinstance(error, BadData):
                self.useful.pop(peer_id, None)
            elif self._given(peer_id) > before:
                backoff.worked()
            self._note(hint, error)
        finally:
            connection.close()
        return peer_id

    def _banned(self, peer_id: PeerId) -> bool:
        return self._deps.bans.banned_until(peer_id) > trio.current_time()

    def _note(self, hint: PeerHint, error: PeerError) -> None:
        who = f"{short(hint.peer_id)} at {hint.address}" if hint.peer_id else str(hint.address)
        logger.debug("%s: %s", who, error)
        text = str(error)
        self._progress.trouble = text if str(hint.address) in text else f"{who}: {text}"
