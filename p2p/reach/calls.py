"""Calls: how a peer that cannot be dialled gives what it has. It dials peers that lack that thing, and offers it.

A called peer asks for the share over that connection as if it had dialled; a volunteer that calls gives its cores.
Each kind of thing to call about has a `Subject`, from the package that handles such things. Trackers, the DHT, and
`DialMe` messages over open connections name the peers to call. Nobody can make a peer call more often than the bounds
here allow, and a `DialMe` only ever leads to an address where this peer has met the message's sender before.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

import trio

from p2p.backoff import Backoff
from p2p.bucket import TokenBucket
from p2p.concurrency.walls import Wall
from p2p.core.bans import Bans
from p2p.errors import PeerError
from p2p.ids import PeerId, ShareId, short
from p2p.log import context
from p2p.net.connection import Connection
from p2p.reach.presence import Presence
from p2p.wire import messages
from p2p.wire.address import Address, is_dialable_host, prefix

logger = logging.getLogger(__name__)

CALL = Wall("call")

MAX_PENDING = 256
MAX_CALLS = 32
MAX_CALLS_PER_PEER = 4
"""The most calls to one peer, which may want several shares: half as many as the connections it accepts per peer."""
CALLS_PER_S, CALL_BURST = 2.0, 16.0
MAX_REMEMBERED = 1024


class Subject(Protocol):
    """A kind of thing that this peer can call others to offer because they lack it: shares, or cores."""

    most: int
    """The most calls about this subject at once; at most half of them go to one network."""

    async def resolve(self, named: bytes) -> bytes | None:
        """What this peer has under a name that others use for it, or None. Raises StorageError."""

    def is_wanted(self, about: bytes, peer: PeerId) -> bool:
        """Whether it would be useful now to call that peer about this thing."""

    async def call(self, address: Address, peer: PeerId, about: bytes) -> bool:
        """Dials the peer and gives it what it lacks. Returns whether the call was worthwhile. Raises PeerError."""


class _CallRequest(NamedTuple):
    """Asks this peer to call a dialable peer that lacks a thing; a `Subject` looks the thing up by `named`."""

    named: bytes
    peer: PeerId
    address: Address


_Which = tuple[PeerId, bytes]
"""A peer, and the thing about which it is called."""


class _Call(NamedTuple):
    """A call under way."""

    subject: Subject
    network: str


@dataclass
class _Past:
    """The outcome of earlier calls to one peer about one thing."""

    backoff: Backoff = field(default_factory=Backoff)
    not_before: float = float("-inf")


class Calls:
    """Makes this peer's calls, within the bounds, and remembers past ones, so that useless calls become rarer."""

    def __init__(self, presence: Presence, bans: Bans[PeerId], random: Random, subjects: Sequence[Subject]) -> None:
        self._presence = presence
        self._bans = bans
        self._random = random
        self._subjects = subjects
        self._send, self._receive = trio.open_memory_channel[_CallRequest](MAX_PENDING)
        self._calling: dict[_Which, _Call] = {}
        self._past: OrderedDict[_Which, _Past] = OrderedDict()
        self._pace = TokenBucket(CALLS_PER_S, CALL_BURST, trio.current_time())

    def wanted(self, named: bytes, peer: PeerId, address: Address) -> None:
        """Notes that `peer`, dialable at the address, lacks what is named: chunks of a share, or volunteers.

        The peer is called soon, if that thing is here and a call would be useful; otherwise it is not called.
        """
        own = peer == self._presence.peer_id or address in self._presence.addresses
        if not own and is_dialable_host(address.host):
            try:
                self._send.send_nowait(_CallRequest(named, peer, address))
            except trio.WouldBlock:
                logger.debug("too much to call about; peer %s is left out", short(peer))

    def asked_by(self, peer: PeerId, share: ShareId) -> None:
        """Notes that a peer asked, over a connection, to be called about the share."""
        address = self._presence.contacts.address_of(peer)
        if address is not None:
            self.wanted(share, peer, address)

    async def dial_me(self, connection: Connection, message: messages.DialMe) -> None:
        """Handles a `DialMe` message."""
        self.asked_by(connection.ends.peer_id, ShareId(message.share))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Calls until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for request in self._receive:
                await CALL.contain(self._consider, request, nursery)

    async def _consider(self, request: _CallRequest, nursery: trio.Nursery) -> None:
        """Makes the call in a task of its own, if that is useful and within the bounds. Raises StorageError."""
        subject, about = await self._resolve(request.named)
        network = prefix(request.address.host)
        if subject is not None and self._may_call(subject, (request.peer, about), network):
            self._calling[request.peer, about] = _Call(subject, network)
            nursery.start_soon(self._call, subject, request.address, request.peer, about)

    async def _resolve(self, named: bytes) -> tuple[Subject | None, bytes]:
        for subject in self._subjects:
            about = await subject.resolve(named)
            if about is not None:
                return subject, about
        return None, b""

    def _may_call(self, subject: Subject, which: _Which, network: str) -> bool:
        peer, about = which
        if which in self._calling or not subject.is_wanted(about, peer):
            return False
        alike = [call.network for call in self._calling.values() if call.subject is subject]
        if len(alike) >= subject.most or alike.count(network) >= subject.most // 2:
            return False
        now = trio.current_time()
        past = self._past.get(which)
        return (
            len(self._calling) < MAX_CALLS
            and Counter(call.network for call in self._calling.values())[network] < MAX_CALLS // 2
            and Counter(called for called, _ in self._calling)[peer] < MAX_CALLS_PER_PEER
            and (past is None or past.not_before <= now)
            and self._bans.banned_until(peer) <= now
            and self._pace.try_take(1, now)
        )

    async def _call(self, subject: Subject, address: Address, peer: PeerId, about: bytes) -> None:
        context.set(f"call={address}")
        try:
            await CALL.contain(self._make_call, subject, address, peer, about)
        finally:
            del self._calling[peer, about]

    async def _make_call(self, subject: Subject, address: Address, peer: PeerId, about: bytes) -> None:
        worth = False
        try:
            worth = await subject.call(address, peer, about)
        except PeerError as error:
            logger.debug("called %s about %s: %s", short(peer), short(about), error)
        finally:
            self._remember((peer, about), worth)

    def _remember(self, which: _Which, worth: bool) -> None:
        now = trio.current_time()
        past = self._past.setdefault(which, _Past())
        if worth:
            past.backoff.worked()
        past.not_before = now + past.backoff.failed(self._random.random())
        self._past.move_to_end(which)
        if len(self._past) > MAX_REMEMBERED:
            self._past.popitem(last=False)
