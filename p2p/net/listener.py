"""Listening: accepts connections up to a limit, does the handshake, and then passes each connection to the node.

A connection is unproven until the handshake has proved who the peer is. Until its turn for the handshake comes, it is a
socket in the lobby (`p2p.net.lobby`) and no more; it has ten seconds for both. Proven connections are limited per peer,
per prefix and in total. They are kept by what is done over them (`Connection.use`), as `p2p.places` decides, so that
whoever only asks a small thing now and then makes room for newcomers; those that wait for something share the places by
network.
"""

import errno
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from p2p import causes
from p2p.concurrency.accepting import CONNECTION, accept_each
from p2p.config import NetworkConfig
from p2p.descriptors import SPARE
from p2p.errors import ConfigError, PeerError
from p2p.ids import PeerId
from p2p.net.connection import HANDSHAKE_TIMEOUT_S, Connection
from p2p.net.dialer import Dialer, wrap
from p2p.net.lobby import Lobby, Newcomer
from p2p.places import Places
from p2p.wire.address import Address, parse_address
from p2p.wire.messages import BUSY, Failed

logger = logging.getLogger(__name__)

_ELSEWHERE = "Choose another with --listen HOST:PORT (port 0 takes a free one)."
MAX_UNPROVEN = 512
BACKLOG = 1024
PERIOD_S = 60.0
"""What was done over a connection counts for its place for so long, and up to twice as long."""
_REVIEW_INTERVAL_S = 10.0
_TRIED_SHARE = 8
"""One place in so many is for connections on trial."""
MIN_ROOM = 6
"""How many connections there may be however few descriptors this process may have."""

Welcome = Callable[[Connection], Awaitable[None]]


class Admission:
    """Limits the number of connections whose peer has proved who it is: per peer, per network prefix and in total.

    `unproven` is the most connections that have not proved it yet, which are beside the others.
    """

    def __init__(self, total: int, per_prefix: int, per_peer: int, unproven: int = MAX_UNPROVEN) -> None:
        self.unproven = unproven
        self._per_peer = per_peer
        tried = max(1, total // _TRIED_SHARE)
        self._places: Places[Connection] = Places("connections", total, tried, PERIOD_S, per_prefix)
        self._counted: dict[Connection, tuple[float, int]] = {}
        """The use of each as far as it is counted in its place: bytes, and round trips."""
        self._peers: Counter[PeerId] = Counter()

    @classmethod
    def of(cls, network: NetworkConfig, descriptors: int) -> "Admission":
        """What the configuration allows, or less where this process may have few descriptors."""
        room = max(descriptors - SPARE, MIN_ROOM)
        unproven = min(MAX_UNPROVEN, room // 3)
        total = min(network.max_connections, room - unproven)
        return cls(total, network.max_connections_per_prefix, network.max_connections_per_peer, unproven)

    def admit(self, connection: Connection, now: float) -> bool:
        """Gives the connection a place, if there is one for it. Closes the connection that it displaces, if any."""
        ends = connection.ends
        if self._peers[ends.peer_id] >= self._per_peer:
            return False
        self.review(now)
        entry = self._places.enter(connection, ends.remote_host, now)
        if entry.admitted:
            self._peers[ends.peer_id] += 1
            self._counted[connection] = connection.use.bytes, connection.use.round_trips
        if entry.displaced is not None:
            logger.debug("%s makes room: nothing was done over its connection lately", entry.displaced.ends)
            entry.displaced.close()
        return entry.admitted

    def review(self, now: float) -> None:
        """Counts of what use each connection was; to be called several times in a period."""
        for connection, counted in self._counted.items():
            use = connection.use
            if (use.bytes, use.round_trips) != counted:
                self._places.useful(connection, use.bytes - counted[0], now)
                if use.round_trips != counted[1]:
                    self._places.waits(connection, now)
                self._counted[connection] = use.bytes, use.round_trips

    def leave(self, connection: Connection) -> None:
        """Stops counting a connection that has ended."""
        self._places.leave(connection)
        del self._counted[connection]
        self._peers -= Counter([connection.ends.peer_id])


async def open_listeners(addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """Opens sockets that listen on the addresses. Raises ConfigError for an address on which this is impossible."""
    opened: list[trio.SocketListener] = []
    for address in addresses:
        try:
            opened += await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
        except OSError as error:
            for listener in opened:
                listener.socket.close()
            raise ConfigError(
                f"Cannot listen on {address}: {causes.explained(error, _ELSEWHERE, forbidden=_ELSEWHERE)}"
            ) from error
    return opened


async def listen(wanted: Sequence[str], port: int) -> tuple[list[trio.SocketListener], list[str]]:
    """Listens at the addresses that the user wants. Returns the sockets, and notes about them for the user.

    If no address is given, listens at every address of this machine, on the port, or on a free one if that port is
    taken. Raises ConfigError.
    """
    if wanted:
        try:
            addresses = [parse_address(text, any_port=True) for text in wanted]
        except ConfigError as error:
            raise ConfigError(f"network.listen: {error}") from error
        return await open_listeners(addresses), []
    notes = []
    try:
        opened = await open_listeners([Address("0.0.0.0", port)])
    except ConfigError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EADDRINUSE:
            raise
        opened = await open_listeners([Address("0.0.0.0", 0)])
        notes.append(f"port {port} is taken, listening on {bound_address(opened[0]).port} instead")
    with suppress(ConfigError):  # this machine has no IPv6, or the port is taken there
        opened += await open_listeners([Address("::", bound_address(opened[0]).port)])
    return opened, notes


def bound_address(listener: trio.SocketListener) -> Address:
    """The address on which the listener is bound."""
    host, port = listener.socket.getsockname()[:2]
    return Address(host, port)


async def run(
    listeners: Sequence[trio.SocketListener],
    dialer: Dialer,
    admission: Admission,
    welcome: Welcome,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accepts until cancelled, then closes the listeners. For each proven connection, `welcome` runs until it ends."""
    with Lobby(admission.unproven, HANDSHAKE_TIMEOUT_S) as lobby:
        meet = partial(_meet, lobby=lobby, dialer=dialer, admission=admission, welcome=welcome)
        host = partial(_host, meet=meet, lobby=lobby)
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(lobby.listen)
                nursery.start_soon(lobby.give_turns, partial(nursery.start_soon, host))
                for listener in listeners:
                    nursery.start_soon(accept_each, listener.socket, lobby.enter)
                task_status.started()
                while True:
                    await trio.sleep(_REVIEW_INTERVAL_S)
                    admission.review(trio.current_time())
            finally:
                for listener in listeners:
                    listener.socket.close()


async def _host(newcomer: Newcomer, *, meet: Callable[[Newcomer], Awaitable[None]], lobby: Lobby) -> None:
    """Has a connection served. Whatever goes wrong, its place and its socket are given back."""
    try:
        await CONNECTION.contain(meet, newcomer)
    finally:
        lobby.leave(newcomer)
        newcomer.socket.close()


async def _meet(newcomer: Newcomer, *, lobby: Lobby, dialer: Dialer, admission: Admission, welcome: Welcome) -> None:
    """Serves a connection from its handshake to its end. Errors that the peer causes are not raised further."""
    connection: Connection | None = None
    try:
        with newcomer.scope:
            stream = wrap(newcomer.socket, dialer.contexts, server=True)
            connection = Connection(stream, dialer.attention)
            await stream.handshake(dialer.network)
            hello = dialer.hello(stream)
            await connection.greet_dialer(dialer.identity, dialer.network, stream.remote_host, hello)
        lobby.leave(newcomer)
        if connection is None or newcomer.scope.cancelled_caught:
            return
        if not admission.admit(connection, trio.current_time()):
            await connection.send(Failed(reason=BUSY))
            return
        try:
            await welcome(connection)
        finally:
            admission.leave(connection)
    except PeerError as error:
        logger.debug("%s: %s", newcomer.host, error)
    finally:
        if connection is not None:
            connection.close()
