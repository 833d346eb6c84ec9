"""Contacts: the addresses where peers really listen, as this peer knows from connecting there itself.

A peer that dials this one says on which port it listens, and is dialled back there, at the host it came from. An
address is passed on to others (peer exchange) only if the same identity answered there, so nobody can make this peer
send others to a third party's address. An address where nobody answered is not tried again for a while, so
that a peer behind a router is not dialled back for each of its exchanges.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable

import trio

from p2p.concurrency.walls import Wall
from p2p.errors import PeerError
from p2p.ids import PeerId, short
from p2p.net.connection import Connection, Ends
from p2p.net.dialer import Dialer
from p2p.wire.address import Address

logger = logging.getLogger(__name__)

PROOF = Wall("dial to prove an address")

MAX_KNOWN = 4096
MAX_PENDING = 256
DIALS_AT_ONCE = 4
DIAL_TIMEOUT_S = 5.0
UNREACHABLE_MEMORY_S = 600.0


class Contacts:
    """A bounded number of addresses, one per peer, each proven by dialling it; the oldest are forgotten first."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._known: OrderedDict[PeerId, Address] = OrderedDict()
        self._asked: set[PeerId] = set()
        self._in_vain: OrderedDict[tuple[PeerId, Address], float] = OrderedDict()
        self._send, self._receive = trio.open_memory_channel[tuple[PeerId, Address, Callable[[], None]]](MAX_PENDING)

    def address_of(self, peer: PeerId) -> Address | None:
        """The address at which the peer was reached, or None."""
        return self._known.get(peer)

    def is_dialable(self, ends: Ends) -> bool | None:
        """Whether the peer at the other end can be dialled; None while that is unknown."""
        if ends.peer_id in self._known:
            return True
        address = ends.claimed_address
        return False if address is None or self._was_in_vain(ends.peer_id, address) else None

    async def dial(self, address: Address, expected: PeerId | None = None) -> Connection:
        """Dials a peer, and remembers where it was reached. Raises PeerError."""
        connection = await self._dialer.dial(address, expected)
        self.reached(connection, address.port)
        return connection

    def reached(self, connection: Connection, port: int) -> None:
        """Remembers the address of a connection that this peer dialled: the other end's IP address, and the port."""
        self.proven(connection.ends.peer_id, Address(connection.ends.remote_host, port))

    def proven(self, peer: PeerId, address: Address) -> None:
        """Remembers an address to which this peer has just connected."""
        self._in_vain.pop((peer, address), None)
        self._known[peer] = address
        self._known.move_to_end(peer)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def prove(self, peer: PeerId, address: Address, then: Callable[[], None]) -> None:
        """Has the address dialled soon, and `then` called if the peer is there. Does nothing if the queue is full."""
        if self._known.get(peer) == address or peer in self._asked or self._was_in_vain(peer, address):
            return
        try:
            self._send.send_nowait((peer, address, then))
        except trio.WouldBlock:
            return
        self._asked.add(peer)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Dials back until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(DIALS_AT_ONCE):
                nursery.start_soon(self._work)
            task_status.started()

    async def _work(self) -> None:
        while True:
            peer, address, then = await self._receive.receive()
            try:
                await PROOF.contain(self._prove, peer, address, then)
            finally:
                self._asked.discard(peer)

    async def _prove(self, peer: PeerId, address: Address, then: Callable[[], None]) -> None:
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                connection = await self._dialer.dial(address, peer)
            connection.close()
            self.proven(peer, address)
            then()
        except (PeerError, trio.TooSlowError) as error:
            logger.debug("peer %s cannot be dialled at %s: %s", short(peer), address, error or "no answer")
            self._remember_in_vain(peer, address)

    def _remember_in_vain(self, peer: PeerId, address: Address) -> None:
        self._in_vain[peer, address] = trio.current_time() + UNREACHABLE_MEMORY_S
        self._in_vain.move_to_end((peer, address))
        if len(self._in_vain) > MAX_KNOWN:
            self._in_vain.popitem(last=False)

    def _was_in_vain(self, peer: PeerId, address: Address) -> bool:
        return self._in_vain.get((peer, address), float("-inf")) > trio.current_time()
