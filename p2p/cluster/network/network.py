"""One member's end of its cluster's network.

The member with the higher index dials the other, for as long as either is there; a connection that breaks, or on which
nothing comes any more, is dialled again. What that means for the other is decided by time alone (`core.membership`).
"""

import itertools
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import msgspec
import trio

from p2p.cluster.network.link import Link
from p2p.cluster.network.namespace import TUN_DEVICE, Namespace, open_namespace
from p2p.cluster.network.tun import Tun
from p2p.concurrency.bell import Bell
from p2p.concurrency.throttle import Throttle
from p2p.core.cluster.line import Line
from p2p.core.cluster.membership import Change, Membership, Standing
from p2p.core.cluster.packets import address_of
from p2p.core.cluster.switch import Switch
from p2p.errors import PeerError, PeerGone, ProtocolViolation, Refused, SandboxFailed
from p2p.ids import PeerId, short
from p2p.net.connection import Connection
from p2p.net.conversation import conversation
from p2p.wire.address import Address
from p2p.wire.cluster import GONE, MAX_MEMBERS, Packets
from p2p.wire.messages import NOT_FOUND, Failed

logger = logging.getLogger(__name__)

TICK_S = 0.5
DIAL_TIMEOUT_S = 4.0
CANNOT_END = (
    "This machine's Linux cannot end idle connections (CONFIG_INET_DIAG_DESTROY): where a member of a cluster is lost, "
    "engines that only wait for it notice late, Spark after 100 seconds."
)
REDIAL_INTERVAL_S = 1.0
"""Several dials fit into the time in which a member may come back."""
_NAME = re.compile(r"m([0-9]{1,3})")


class MemberAt(msgspec.Struct, frozen=True):
    """A member, its present epoch as the owner says it, and where it may be dialled."""

    index: int
    peer: PeerId
    epoch: int
    addresses: tuple[Address, ...] = ()


class OwnMember(msgspec.Struct, frozen=True):
    """Which member of which cluster this is, in its present epoch."""

    cluster: bytes
    index: int
    epoch: int


Dial = Callable[[MemberAt], Awaitable[Connection]]
"""Connects with a member, by whatever way there is. Raises PeerError."""


class Network:
    """The network of one cluster. Made by `open_network`."""

    def __init__(self, own: OwnMember, namespace: Namespace, dial: Dial, upload: Throttle, download: Throttle) -> None:
        self.own = own
        self.members = Membership()
        self.changes = Bell()
        """Rings when a member's standing has changed."""
        self.outlived = trio.Event()
        """Set once another member has given this one up: its programs are to be ended, and begun in a new epoch."""
        self._namespace = namespace
        self._dial = dial
        self._upload, self._download = upload, download
        self._switch = Switch(own.index, self.members)
        self._tun = Tun(namespace.tun)
        self._others: dict[int, MemberAt] = {}
        self._links: dict[int, Link] = {}
        self._by_line: dict[Line, Link] = {}
        self._dialling: dict[int, trio.CancelScope] = {}
        self._met = trio.Event()
        self._is_over = False
        self._held_up_s = 0.0

    @property
    def ends_connections(self) -> bool:
        """Whether this kernel ends the idle connections of programs with a member that is gone."""
        return self._namespace.ends_connections

    @property
    def unsound(self) -> int:
        """How many packets that others sent were not taken, since no kernel would have sent them."""
        return self._switch.unsound

    async def meet(self, others: Iterable[MemberAt]) -> None:
        """Hears who the other members are now. Those that are new are waited for, or dialled; others have left.

        Whoever gets the index of one that has left begins in a later epoch than that.
        """
        known = {other.index: other for other in others if other.index != self.own.index}
        for index in self._others.keys() - known.keys():
            await self.leave(index)
        for index, other in known.items():
            before = self._others.get(index, other)
            if (before.peer, before.epoch) != (other.peer, other.epoch):
                await self.leave(index)
            self._others[index] = other
            self.members.expect(index)
        self._met.set()

    async def leave(self, index: int) -> None:
        """Hears that a member's allocation has ended: it is gone at once."""
        if self._others.pop(index, None) is not None:
            if index in self._dialling:
                self._dialling[index].cancel()
            await self._tell(self.members.end(index))
            self.changes.ring()

    async def complete(self) -> None:
        """Waits until all members are here. A caller who waits for too long names those of `missing`."""
        while self.missing():
            count = self.changes.count
            await self.changes.after(count)

    def missing(self) -> list[MemberAt]:
        """The members with which there is no connection."""
        return [self._others[index] for index in self.members.missing() if index in self._others]

    async def connect(self, host: str, port: int) -> trio.SocketStream:
        """Connects from within the network, to a member's name or address. Raises OSError, SandboxFailed."""
        named = _NAME.fullmatch(host)
        if named and int(named[1]) < MAX_MEMBERS:
            host = ".".join(map(str, address_of(int(named[1]))))
        return await self._namespace.connect(host, port)

    async def welcome(self, connection: Connection, message: Packets) -> bool:
        """Handles the opening by which another member begins to send packets. Raises PeerError."""
        other = self._others.get(message.index)
        if (
            self._is_over
            or other is None
            or other.peer != connection.ends.peer_id
            or message.cluster != self.own.cluster
            or message.index <= self.own.index
            or message.epoch > other.epoch
        ):
            await connection.send(Failed(reason=NOT_FOUND))
            return False
        if message.epoch < other.epoch or not self.members.admits(message.index, message.epoch):
            await connection.send(Failed(reason=GONE))
            return False
        await connection.send(self._greeting())
        await self.carry(connection, message.index, message.epoch)
        return True

    async def carry(self, connection: Connection, index: int, epoch: int) -> None:
        """Carries packets of a member over a connection, until it ends or another takes its place. Raises PeerError."""
        if not self.members.admits(index, epoch):
            raise PeerGone("it was given up")
        await self._tell(self.members.begin(index, epoch, self._clock()))
        self._cut(index)
        line = self._switch.open(index)
        link = self._links[index] = self._by_line[line] = Link(index, connection, line)
        try:
            with link.scope:
                async with conversation(connection):
                    await link.run(self._switch, self._tun, self._upload, self._download)
        finally:
            connection.close()
            del self._by_line[line]
            self._switch.close(index, line)
            if self._links.get(index) is link:
                del self._links[index]

    async def run(self) -> None:
        """Dials members, carries what programs send, and watches who is there, until cancelled.

        Raises SandboxFailed if the sandbox is no more.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self._watch)
                while True:
                    self._met = trio.Event()
                    for index in self._others:
                        if index < self.own.index and index not in self._dialling:
                            self._dialling[index] = trio.CancelScope()
                            nursery.start_soon(self._keep_dialling, index)
                    await self._met.wait()
        finally:
            self._is_over = True
            self._tun.shut()
            for index in list(self._links):
                self._cut(index)

    async def _read(self) -> None:
        tun, dispatch, links = self._tun, self._switch.dispatch, self._by_line
        while True:
            await tun.wait()
            now = trio.current_time()
            for packet in tun.packets():
                where = dispatch(packet, now)
                if isinstance(where, Line):
                    links[where].ring()
                elif where is not None:
                    tun.write(where)

    async def _watch(self) -> None:
        while True:
            due = trio.current_time() + TICK_S
            await trio.sleep_until(due)
            late_s = trio.current_time() - due
            if late_s > TICK_S:
                self._held_up_s += late_s
            now = self._clock()
            for link in list(self._links.values()):
                if link.has_spoken():
                    await self._tell(self.members.heard(link.index, now))
            await self._tell(self.members.tick(now))

    async def _keep_dialling(self, index: int) -> None:
        try:
            with self._dialling[index]:
                for turn in itertools.count():
                    if self.outlived.is_set():
                        break
                    try:
                        await self._carry_dialled(index, turn)
                    except PeerError as error:
                        logger.debug("no packets with member %d: %s", index, error)
                    await trio.sleep(REDIAL_INTERVAL_S)
        finally:
            del self._dialling[index]
            self._met.set()  # another may have its index by now

    async def _carry_dialled(self, index: int, turn: int) -> None:
        other = self._at(index)
        if other.addresses:  # another is the first each time: time may pass at one that says nothing
            first = turn % len(other.addresses)
            other = msgspec.structs.replace(other, addresses=other.addresses[first:] + other.addresses[:first])
        connection: Connection | None = None
        try:
            with trio.move_on_after(DIAL_TIMEOUT_S) as patience:
                connection = await self._dial(other)
                if connection.ends.peer_id != other.peer:
                    raise ProtocolViolation(f"it is peer {short(connection.ends.peer_id)}")
                await connection.send(self._greeting())
                answer = await connection.receive()
            if patience.cancelled_caught or connection is None:
                raise PeerGone("it does not answer")
            if isinstance(answer, Failed):
                if answer.reason == GONE:
                    self.outlived.set()
                raise Refused(answer.reason)
            if not isinstance(answer, Packets) or (answer.cluster, answer.index) != (self.own.cluster, index):
                raise ProtocolViolation("no packets, where they belong")
            if answer.epoch != self._at(index).epoch:
                raise PeerGone("it is in an epoch of which its owner has not told")
            if not self.members.admits(index, answer.epoch):
                self.outlived.set()
                raise PeerGone("it is in an epoch that was given up here")
            await self.carry(connection, index, answer.epoch)
        finally:
            if connection is not None:
                connection.close()

    def _at(self, index: int) -> MemberAt:
        """Where a member is. Raises PeerGone: it may leave in the moment in which its dialling goes on."""
        if index not in self._others:
            raise PeerGone("it has left")
        return self._others[index]

    def _clock(self) -> float:
        """The time, without that in which this process was stopped or starved: others were not silent in it."""
        return trio.current_time() - self._held_up_s

    def _greeting(self) -> Packets:
        return Packets(cluster=self.own.cluster, index=self.own.index, epoch=self.own.epoch)

    def _cut(self, index: int) -> None:
        """Ends the link with a member, if there is one."""
        if index in self._links:
            self._links.pop(index).scope.cancel()

    async def _tell(self, changes: Iterable[Change]) -> None:
        for index, standing, _ in changes:
            logger.info("member %d of the cluster is %s", index, standing.value)
            self.changes.ring()
            if standing is Standing.GONE or (standing is Standing.AWAY and index < self.own.index):
                # One that is away is dialled again: it may be in another network by now.
                self._cut(index)
            if standing is Standing.GONE and self.ends_connections:
                try:
                    await self._namespace.end_connections(address_of(index))
                except SandboxFailed as error:
                    logger.warning("%s", error)


@asynccontextmanager
async def open_network(
    pid: int, own: OwnMember, dial: Dial, upload: Throttle, download: Throttle, device: str = TUN_DEVICE
) -> AsyncIterator[Network]:
    """Gives the sandbox of a process the network of a cluster. Its programs begin once `complete` returns.

    Raises SandboxFailed if the network cannot be made.
    """
    async with open_namespace(pid, own.index, device) as namespace, trio.open_nursery() as nursery:
        if not namespace.ends_connections:
            logger.warning("%s", CANNOT_END)
        network = Network(own, namespace, dial, upload, download)
        nursery.start_soon(network.run)
        yield network
        nursery.cancel_scope.cancel()
