"""An exchange: one conversation about one share, in which both sides are equal.

It has three tasks: `_listen` handles the peer's messages, `Uploads` serves the chunks that the peer wants, and `_tell`
sends this side's messages. Other objects call the synchronous methods, which only leave something for `_tell` to send.

A side that waits for chunks, or lets the other wait, says something every few seconds, if only an empty `Have`. So a
slow peer differs from a dead one.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from p2p.core.shares import bitmap
from p2p.core.shares.layout import Layout
from p2p.errors import PeerError, PeerGone, ProtocolViolation, Refused, StorageError
from p2p.ids import PeerId, short
from p2p.net.connection import Connection, Ends
from p2p.net.pace import Pace
from p2p.reach.contacts import Contacts
from p2p.sharing.swarm import Swarm
from p2p.sharing.traffic import Traffic
from p2p.sharing.uploads import Uploads
from p2p.store.disk import Disk
from p2p.wire import messages
from p2p.wire.address import may_tell
from p2p.wire.frames import DataHeader
from p2p.wire.messages import AnyMessage, Unknown

logger = logging.getLogger(__name__)

HAVE_INTERVAL_S = 0.05
IDLE_TIMEOUT_S = 300.0
KEEP_ALIVE_S = 5.0
SILENT_S = 60.0
"""How long a peer that waits for chunks may say nothing."""
MAX_UNSENT = 8192

Answer = Callable[[Connection, AnyMessage | Unknown], Awaitable[None]]
"""Answers a message that is not about the exchange (but about manifests or browsing)."""


class Exchange:
    """One exchange with one peer, over one connection. `run` starts it and lasts until either side ends it."""

    def __init__(
        self, connection: Connection, swarm: Swarm, contacts: Contacts, traffic: Traffic, disk: Disk, answer: Answer
    ) -> None:
        self.connection = connection
        self.swarm = swarm
        self._contacts = contacts
        self._traffic = traffic
        self._answer = answer
        self._layout: Layout = swarm.holding.layout
        self._uploads = Uploads(connection, swarm, traffic, disk, self.tell_gone)
        self._outbox: list[AnyMessage] = []
        self._have = swarm.holding.held
        self._gone = 0
        self._theirs = 0
        self._tell_peers = True
        self._told_peers: set[PeerId] = set()
        self._wake = trio.Event()
        self._reason: PeerError | None = None
        self._last: PeerError | None = None
        self._heard_at = trio.current_time()
        self._spoke_at, self._spoken = self._heard_at, 0
        self._answering = False
        self._is_asked = False
        """Whether the peer, which has this side wait, is to hear that it is there."""
        self.downloaded = 0

    @property
    def ends(self) -> Ends:
        return self.connection.ends

    @property
    def uploaded(self) -> int:
        return self._uploads.sent

    @property
    def theirs(self) -> int:
        """The chunks that the peer says it has, as a bitmap."""
        return self._theirs

    async def run(self, first: AnyMessage | Unknown | None = None) -> None:
        """Exchanges until either side ends it; `first` is a message already received. Raises PeerError."""
        if self._traffic.liars.banned_until(self.ends.peer_id) > trio.current_time():
            await self.connection.send(messages.Failed(reason=messages.LIED, share=self.swarm.share_id))
            raise Refused("it has complained about good chunks")
        if not self.swarm.admit(self):
            await self.connection.send(messages.Failed(reason=messages.DUPLICATE, share=self.swarm.share_id))
            raise Refused("another connection with the same peer stands")
        address = self.ends.claimed_address
        if self.ends.dialed or address is None:
            self.swarm.met()
        else:
            self._contacts.prove(self.ends.peer_id, address, self.swarm.met)
        try:
            async with trio.open_nursery() as nursery:
                for task in (self._tell, self._uploads.run):
                    nursery.start_soon(self._guarded, task)
                await self._guarded(self._listen, first)
                nursery.cancel_scope.cancel()
        finally:
            self.swarm.leave(self)
            self.connection.close()
        if self._reason is not None:
            raise self._reason

    def end(self, why: str | PeerError) -> None:
        """Ends the exchange; to be called by other objects."""
        self._reason = self._reason or (PeerGone(why) if isinstance(why, str) else why)
        self.connection.close()

    def end_after(self, last: AnyMessage, error: PeerError) -> None:
        """Ends the exchange once the message is sent."""
        self._last = error
        self.say(last)

    async def _guarded(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Runs one of the three tasks. An error of the peer, or of the disk, ends all three."""
        try:
            await task(*arguments)
        except PeerError as error:
            self.end(error)
        except StorageError as error:
            logger.warning("share %s: %s", short(self.swarm.share_id), error)
            self.end("this side's disk failed")

    # Messages to send.

    def say(self, message: AnyMessage) -> None:
        """Sends the message soon. Ends the exchange if too many messages wait because the peer does not read them."""
        self._outbox.append(message)
        if len(self._outbox) > MAX_UNSENT:
            self.end("it does not read what it is told")
        self._wake.set()

    def tell_have(self, chunks: int) -> None:
        """Tells the peer that this side now holds these chunks, except for those that the peer has itself."""
        news = chunks & ~self._theirs
        if news and not self._have:
            self._wake.set()  # once for all that come before they are told: there may be many exchanges
        self._have |= news

    def tell_gone(self, chunks: int) -> None:
        """Tells the peer that this side no longer holds these chunks."""
        self._have &= ~chunks
        self._gone |= chunks
        self._wake.set()

    def tell_peers(self) -> None:
        """Tells the peer soon about the swarm's members, which may have changed."""
        self._tell_peers = True
        self._wake.set()

    async def _tell(self) -> None:
        connection = self.connection
        await connection.send(*have_messages(self._have, self._layout.chunks))
        self._have = 0
        while True:
            if self._outbox:
                said, self._outbox = self._outbox, []
                await connection.send(*said)
            if self._last is not None:
                raise self._last
            if self._gone:
                gone, self._gone = self._gone, 0
                await connection.send(*gone_messages(gone))
            if self._have:
                have, self._have = self._have, 0
                await connection.send(*have_messages(have, self._layout.chunks))
            if self._is_asked:
                self._is_asked = False
                await connection.send(messages.Have())
            if self._tell_peers:
                self._tell_peers = False
                await self._send_peers()
            with trio.move_on_after(min(KEEP_ALIVE_S, IDLE_TIMEOUT_S / 4)):
                await self._wake.wait()
            self._wake = trio.Event()
            if not self._outbox and self._have:
                # Hundreds of chunks may come per second; the peer need not be told of each at once.
                with trio.move_on_after(HAVE_INTERVAL_S):
                    while not self._outbox:
                        await self._wake.wait()
                        self._wake = trio.Event()
            await self._keep_alive()

    async def _keep_alive(self) -> None:
        """Says something if the peer might think that this side is dead. Raises PeerGone if the peer seems so."""
        now, sink = trio.current_time(), self.swarm.sink
        patience = SILENT_S if self._uploads.awaited else IDLE_TIMEOUT_S
        if self._answering or (sink is not None and sink.holds_back(self)):
            # What the peer said in the meantime is still to be read.
            self._heard_at = now
        elif now - self._heard_at > patience:
            raise PeerGone(f"nothing was heard of it for {patience:.0f} seconds")
        if self._spoken != self.connection.bytes_out:
            self._spoke_at, self._spoken = now, self.connection.bytes_out
        elif now - self._spoke_at >= KEEP_ALIVE_S and (
            self._uploads.awaited or (sink is not None and sink.awaits(self))
        ):
            await self.connection.send(messages.Have())

    async def _send_peers(self) -> None:
        contacts = self._contacts
        told = []
        for peer in self.swarm.proven_members(contacts.address_of):
            address = contacts.address_of(peer)
            if (
                address is not None
                and peer != self.ends.peer_id
                and peer not in self._told_peers
                and may_tell(address.host, self.ends.remote_host)
            ):
                told.append((peer, address.host, address.port))
        told = told[: messages.MAX_PEERS]
        if told:
            self._told_peers.update(peer for peer, _, _ in told)
            await self.connection.send(messages.Peers(peers=tuple(told)))

    # Messages received.

    async def _listen(self, first: AnyMessage | Unknown | None) -> None:
        connection = self.connection
        pace = Pace(connection, self._layout.chunks)
        if first is not None:
            await self._heard(first)
        while True:
            message = await connection.receive()
            self._heard_at = trio.current_time()
            if isinstance(message, DataHeader):
                if self.swarm.sink is None:
                    raise ProtocolViolation("chunks that nobody asked for")
                await self.swarm.sink.data(self, message)
                continue
            self._answering = True
            connection.use.heard()
            # In a flood of messages, this side waits instead of doing more work.
            await pace.spend(message, len(self._uploads))
            await self._heard(message)
            self._answering = False

    async def _heard(self, message: AnyMessage | Unknown) -> None:
        sink = self.swarm.sink
        match message:
            case messages.Have():
                chunks = self._decoded(message)
                self._theirs |= chunks
                if sink is not None:
                    sink.offered(self, chunks)
            case messages.Gone(ranges):
                chunks = self._in_bounds(ranges)
                self._theirs &= ~chunks
                if sink is not None:
                    sink.lost(self, chunks)
            case messages.Want(first, count):
                self._check([(first, count)])
                self._uploads.want(first, count)
            case messages.Cancel(first, count):
                self._check([(first, count)])
                self._uploads.cancel(first, count)
            case messages.Hurry(first, count):
                self._check([(first, count)])
                self._uploads.hurry(first, count)
            case messages.Choked(position):
                if sink is not None:
                    sink.choked(self, position)
                    self._is_asked = position > 0
                    self._wake.set()
            case messages.Peers(peers):
                if sink is not None:
                    sink.heard_of(peers, self.ends.remote_host)
            case messages.Bad(chunk):
                self._check([(chunk, 1)])
                await self._judge(chunk)
            case messages.Failed(reason):
                if reason != messages.UNSUPPORTED:
                    raise Refused(reason)
            case _:
                await self._answer(self.connection, message)

    async def _judge(self, chunk: int) -> None:
        """Finds out who is at fault for a chunk that the peer calls bad. Always raises PeerError."""
        if await self._uploads.judge(chunk):
            self._traffic.liars.strike(self.ends.peer_id, trio.current_time())
            raise ProtocolViolation("it complained about a chunk that is good")
        logger.warning("share %s: chunk %d on this disk is bad", short(self.swarm.share_id), chunk)
        raise PeerGone("a chunk on this side was bad")

    def _in_bounds(self, ranges: Sequence[tuple[int, int]]) -> int:
        self._check(ranges)
        return bitmap.of(ranges)

    def _check(self, ranges: Sequence[tuple[int, int]]) -> None:
        end = 0
        for first, count in ranges:
            if first < end:
                raise ProtocolViolation("ranges out of order")
            end = first + count
        if end > self._layout.chunks:
            raise ProtocolViolation("chunks beyond the share")

    def _decoded(self, have: messages.Have) -> int:
        chunks = self._in_bounds(have.ranges)
        if have.bits:
            if have.first > self._layout.chunks:
                raise ProtocolViolation("chunks beyond the share")
            chunks |= bitmap.from_bytes(have.bits) << have.first
            if chunks > self._layout.everything:
                raise ProtocolViolation("chunks beyond the share")
        return chunks


def have_messages(chunks: int, size: int) -> list[AnyMessage]:
    """Makes `Have` messages of the chunks, as ranges or bits, whichever is shorter; at least one, perhaps empty."""
    ranges = []
    for run in bitmap.runs(chunks):
        ranges.append(run)
        if len(ranges) > messages.MAX_RANGES:
            break
    else:
        return [messages.Have(ranges=tuple(ranges))]
    packed = bitmap.to_bytes(chunks, size)
    step = messages.MAX_MAP_BYTES
    return [messages.Have(first=8 * at, bits=packed[at : at + step]) for at in range(0, len(packed), step)]


def gone_messages(chunks: int) -> list[AnyMessage]:
    """Makes `Gone` messages of the chunks."""
    ranges = list(bitmap.runs(chunks))
    step = messages.MAX_RANGES
    return [messages.Gone(ranges=tuple(ranges[at : at + step])) for at in range(0, len(ranges), step)]
