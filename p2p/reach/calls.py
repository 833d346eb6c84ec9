"""Calling: how a peer that cannot be dialled gives what it has. It dials those who lack it, and offers.

Whoever wants the share asks over that connection as if it had dialled. A volunteer's cores are given in the same way
(`hiring`). Who is to be called is told by trackers and the DHT, or by a `DialMe` over a connection that stands; nobody
can have a peer call more often than the bounds here allow, and a `DialMe` only ever leads to an address where this peer
has met its sender before.
"""

import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

import trio

from p2p.bucket import TokenBucket
from p2p.compute.owner import hiring
from p2p.core.standing import Backoff
from p2p.errors import PeerError, StorageError
from p2p.ids import ID_BYTES, PeerId, ShareId, short
from p2p.log import context
from p2p.peer_context import Local
from p2p.sharing import handlers as serve
from p2p.wire import messages
from p2p.wire.address import Address, is_dialable_host, prefix
from p2p.wire.tracker import provider_key

logger = logging.getLogger(__name__)

MOST_PENDING = 256
MOST_CALLS = 32
MOST_CALLS_PER_PEER = 4
"""Half of the connections that a peer accepts from one other; it may want several shares."""
MOST_CALLS_FOR_WORK = 8
"""At most half of them to one network: who offers nothing shall not keep a volunteer from those who do."""
NEXT_JOB_S = 0.5
CALLS_PER_S, CALL_BURST = 2.0, 16.0
MOST_REMEMBERED = 1024
WORTH_WHILE_S = 10.0
"""A call that lasted so long was wanted: the next one need not wait."""
KEYS_LAST_S = 5.0

WORK = b"work"
_Which = tuple[PeerId, bytes]
"""A peer, and the share about which it is called; or `WORK`."""


async def call(local: Local, address: Address, peer_id: PeerId, share: ShareId) -> None:
    """Dials a peer, offers it a share that is held or fetched here, and serves it until the connection's end.

    Always raises PeerError in the end; Refused where the peer does not want the share.
    """
    connection = await local.dialer.dial(address, peer_id)
    try:
        local.contacts.reached(connection, address.port)
        await connection.send(messages.Offer(share=share))
        await serve.converse(local, connection)
    finally:
        connection.close()


@dataclass(frozen=True)
class _Wish:
    """Somebody who can be dialled lacks something of this peer's, named by a share id, a provider or a hiring key."""

    named: bytes
    peer: PeerId
    address: Address


@dataclass
class _Past:
    """How calls of one peer about one thing went."""

    backoff: Backoff = field(default_factory=Backoff)
    not_before: float = float("-inf")


class Calls:
    """The calls of one peer: who is to be called, who is being called, and who was in vain."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._send, self._receive = trio.open_memory_channel[_Wish](MOST_PENDING)
        self._calling: dict[_Which, str] = {}
        """With the network that is called."""
        self._past: OrderedDict[_Which, _Past] = OrderedDict()
        self._pace = TokenBucket(CALLS_PER_S, CALL_BURST, trio.current_time())
        self._shares: dict[bytes, ShareId] = {}
        self._shares_at = float("-inf")

    def wanted(self, named: bytes, peer: PeerId, address: Address) -> None:
        """This peer, dialable there, lacks chunks of a share (an id, or a provider key), or looks for volunteers (a
        hiring key). Called soon, or not at all.

        Not if the share is neither held nor fetched here, nor when it is being exchanged with that peer already; not
        for work that this peer would not do now.
        """
        own = peer == self._local.peer_id or address in self._local.addresses
        if not own and is_dialable_host(address.host):
            try:
                self._send.send_nowait(_Wish(named, peer, address))
            except trio.WouldBlock:
                logger.debug("too much to call about; peer %s is left out", short(peer))

    def asked_by(self, peer: PeerId, share: ShareId) -> None:
        """The peer at the other end of a connection says `DialMe`."""
        address = self._local.contacts.address_of(peer)
        if address is not None:
            self.wanted(share, peer, address)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Calls until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for wish in self._receive:
                try:
                    about = await self._about(wish.named)
                except StorageError as error:
                    logger.warning("%s", error)
                    continue
                network = prefix(wish.address.host)
                if about is not None and self._may_call((wish.peer, about), network):
                    self._calling[wish.peer, about] = network
                    nursery.start_soon(self._call, wish.address, wish.peer, about)

    def _may_call(self, which: _Which, network: str) -> bool:
        peer, about = which
        swarm = self._local.swarms.get(ShareId(about))
        if which in self._calling or (swarm is not None and peer in swarm.members):
            return False
        if about == WORK:
            networks = [called for (_, subject), called in self._calling.items() if subject == WORK]
            many = len(networks) >= MOST_CALLS_FOR_WORK or networks.count(network) >= MOST_CALLS_FOR_WORK // 2
            if many or not hiring.is_free(self._local):
                return False
        now = trio.current_time()
        past = self._past.get(which)
        return (
            len(self._calling) < MOST_CALLS
            and Counter(self._calling.values())[network] < MOST_CALLS // 2
            and Counter(called for called, _ in self._calling)[peer] < MOST_CALLS_PER_PEER
            and (past is None or past.not_before <= now)
            and self._local.standing.banned_until(peer) <= now
            and self._pace.try_take(1, now)
        )

    async def _call(self, address: Address, peer: PeerId, about: bytes) -> None:
        context.set(f"call={address}")
        began, worth = trio.current_time(), False
        try:
            if about == WORK:
                while hiring.is_free(self._local) and await hiring.call(self._local, address, peer):
                    worth = True
                    await trio.sleep(NEXT_JOB_S)
            else:
                await call(self._local, address, peer, ShareId(about))
        except PeerError as error:
            logger.debug("called %s about %s: %s", short(peer), "work" if about == WORK else short(about), error)
        finally:
            del self._calling[peer, about]
            self._remember((peer, about), worth or (about != WORK and trio.current_time() - began >= WORTH_WHILE_S))
        if worth:
            self._local.news.ring()  # its cores are free: who else wants them?

    def _remember(self, which: _Which, worth: bool) -> None:
        now = trio.current_time()
        past = self._past.setdefault(which, _Past())
        if worth:
            past.backoff.worked()
        past.not_before = now + past.backoff.failed(self._local.random.random())
        self._past.move_to_end(which)
        if len(self._past) > MOST_REMEMBERED:
            self._past.popitem(last=False)

    async def _about(self, named: bytes) -> bytes | None:
        """The share of this peer that is meant, or `WORK`."""
        local = self._local
        if len(named) == ID_BYTES:
            share = ShareId(named)
            if share in local.swarms:
                return share
            row = await trio.to_thread.run_sync(local.library.share, share, limiter=local.disk)
            return None if row is None else share
        if hiring.is_hiring_key(local, named):
            return WORK
        for share in local.swarms:
            if provider_key(share) == named:
                return share
        if named not in self._shares and trio.current_time() - self._shares_at > KEYS_LAST_S:
            self._shares = await trio.to_thread.run_sync(self._by_key, limiter=local.disk)
            self._shares_at = trio.current_time()
        return self._shares.get(named)

    def _by_key(self) -> dict[bytes, ShareId]:
        """The shares of the library by their provider keys. In a thread."""
        return {provider_key(ShareId(row.id)): ShareId(row.id) for row in self._local.library.shares()}
