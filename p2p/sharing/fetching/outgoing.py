"""Outgoing sources: dials every address where a share may be found, again and again, each with its own back-off.

A source that comes back is used again; a useless source is tried less and less often, and a banned one not until its
ban is over. The number of connections at a time is bounded (`dial_places`), and so is the number of remembered
addresses: an address from which nothing came lately makes room for one in another network, or that another peer named.
"""

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import trio

from p2p.backoff import Backoff
from p2p.errors import BadData, OwnAddress, PeerError, Refused
from p2p.ids import PeerId, short
from p2p.log import context
from p2p.net.conversation import conversation
from p2p.places import UNVERIFIED, Places, network_of
from p2p.progress import Progress
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.dial_places import DialPlaces
from p2p.sharing.fetching.incoming import Given, IncomingSources
from p2p.sharing.fetching.source_places import worth
from p2p.sharing.swarms import Take
from p2p.wire.address import Address
from p2p.wire.link import PeerHint

logger = logging.getLogger(__name__)

MAX_ADDRESSES = 256
REMEMBERED_S = 60.0
"""What came from an address counts for its place for so long, and up to twice as long."""
REFUSED_S = 2.0
"""How long what a peer names is not heeded after an address of its was refused."""
USER, FINDERS = "this peer's user", "finders"
"""Who named an address, if not another peer."""
_TRIED_SHARE = 4
"""One remembered address in so many is on trial."""
MAX_HEARSAY_TRIES = 3
"""How often an address that only another peer named is dialled without success before it makes room for others."""
CONNECTED_CHECK_INTERVAL_S = 0.5


@dataclass(eq=False)
class _Known:
    """An address to try, who named it, and who is there: as was said, or as was found by dialling it."""

    hint: PeerHint
    named_by: str
    hearsay: bool
    peer_id: PeerId | None
    found: PeerId | None = None
    counted: float = 0.0
    """What has come from there, as far as it is counted in its place."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class OutgoingSources:
    """Dials the addresses of one fetch. `talk` conducts the whole conversation with a source; PeerError ends it.

    `given` returns how many correct bytes a peer has sent, and how many it has sent in all: only a peer that sent
    correct ones is dialled again soon.
    """

    def __init__(
        self,
        deps: Deps,
        nursery: trio.Nursery,
        talk: Take,
        connected: Callable[[PeerId], bool],
        given: Given,
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
        self._addresses: dict[Address, _Known] = {}
        self._remembered: Places[Address] = Places(
            "remembered addresses", MAX_ADDRESSES, max(1, MAX_ADDRESSES // _TRIED_SHARE), REMEMBERED_S
        )
        self._refused_until: dict[Hashable, float] = {}
        """Until when nothing that a network's peers name is heeded, while there is no place."""
        self._places = DialPlaces(deps.max_sources)
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

    def heard_of(self, hint: PeerHint, named_by: str = FINDERS) -> None:
        """Adds an address that another peer named: it is tried for a while, or for good if a peer answers there."""
        self.add(hint, hearsay=True, named_by=named_by)

    def add(self, hint: PeerHint, *, hearsay: bool = False, named_by: str = USER) -> None:
        """Adds an address to try, in the place of another if there are too many. Ignores known addresses."""
        address, now = hint.address, trio.current_time()
        if address in self._addresses:
            return
        if self._remembered.is_full:
            if now < self._refused_until.get(network_of(named_by), now):
                return  # a flood of names costs little
            self._review(now)
        entry = self._remembered.enter(address, address.host, now, named_by=named_by)
        if not entry.admitted:
            if len(self._refused_until) > MAX_ADDRESSES:
                self._refused_until.clear()
            self._refused_until[network_of(named_by)] = now + REFUSED_S
        if entry.displaced is not None:
            self._addresses.pop(entry.displaced).scope.cancel()
        if entry.admitted:
            known = self._addresses[address] = _Known(hint, named_by, hearsay, hint.peer_id)
            self._count()
            self._nursery.start_soon(self._pursue, known)

    def _review(self, now: float) -> None:
        """Counts what has come from each address. A peer that is connected and only waits is of a little use."""
        for address, known in self._addresses.items():
            if known.found is not None:
                came = self._came_from(known.found)
                waits = UNVERIFIED if self._connected(known.found) else 0.0
                self._remembered.useful(address, max(waits, came - known.counted), now)
                known.counted = came

    def _came_from(self, peer_id: PeerId | None) -> float:
        return 0.0 if peer_id is None else worth(self._given(peer_id))

    def not_dialable(self, peer_id: PeerId) -> None:
        """Notes that the peer has the share, but no address at which it can be dialled."""
        self._incoming.ask(peer_id)
        self._count()

    def _count(self) -> None:
        self._progress.known = len(self._addresses) + self._incoming.known

    async def _pursue(self, known: _Known) -> None:
        with known.scope:
            await self._keep_trying(known)
        if self._addresses.get(known.hint.address) is known:
            del self._addresses[known.hint.address]
            self._remembered.leave(known.hint.address)
            self._count()

    async def _keep_trying(self, known: _Known) -> None:
        """Returns once the address is of no use."""
        backoff, hint = Backoff(), known.hint
        context.set(f"source={hint.address}")
        while True:
            if known.peer_id is not None and (self._connected(known.peer_id) or self._banned(known.peer_id)):
                await trio.sleep(CONNECTED_CHECK_INTERVAL_S)
                continue
            try:
                async with self._places.hold(hint.address.host, known.named_by, lambda: self._came_from(known.found)):
                    await self._try(known, backoff)
            except OwnAddress:
                await trio.sleep_forever()  # so that it is not tried again when it is named again
            except PeerError as error:
                self._note(hint, error)
            if known.hearsay and known.peer_id is None and backoff.failures >= MAX_HEARSAY_TRIES - 1:
                return
            await trio.sleep(backoff.failed(self._deps.random.random()))

    async def _try(self, known: _Known, backoff: Backoff) -> None:
        """Dials, and uses the connection until it ends. Raises OwnAddress."""
        hint = known.hint
        try:
            connection = await self._deps.presence.contacts.dial(hint.address, hint.peer_id)
        except OwnAddress:
            raise
        except PeerError as error:
            self._note(hint, error)
            return
        peer_id = known.peer_id = known.found = connection.ends.peer_id
        before, _ = self._given(peer_id)
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
            elif self._given(peer_id)[0] > before:
                backoff.worked()
            self._note(hint, error)
        finally:
            connection.close()

    def _banned(self, peer_id: PeerId) -> bool:
        return self._deps.bans.banned_until(peer_id) > trio.current_time()

    def _note(self, hint: PeerHint, error: PeerError) -> None:
        who = f"{short(hint.peer_id)} at {hint.address}" if hint.peer_id else str(hint.address)
        logger.debug("%s: %s", who, error)
        text = str(error)
        self._progress.trouble = text if str(hint.address) in text else f"{who}: {text}"
