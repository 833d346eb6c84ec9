"""Dialling: TCP, TLS, and a handshake in which both sides prove their identity, all within ten seconds.

Few dials are made at a time, and networks share them (`p2p.places.Seats`): whoever names many addresses that do not
answer delays only dials to the same networks.
"""

import os
import socket
from dataclasses import dataclass, field

import trio

from p2p.errors import OwnAddress, PeerGone, ProtocolViolation
from p2p.identity import Identity
from p2p.ids import PeerId, compared
from p2p.net.attention import Attention
from p2p.net.connection import HANDSHAKE_TIMEOUT_S, Connection
from p2p.net.tls import Contexts, TlsStream
from p2p.places import Seats, network_of
from p2p.round_robin import RoundRobin
from p2p.wire.address import Address
from p2p.wire.messages import LINKS, Hello

SOFTWARE = "shoal/0.1"
MAX_DIALS = 16


@dataclass(eq=False)
class _Dial:
    """A dial under way, which begins again if one to another network takes its place; or one that waits."""

    host: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    turn: trio.Event = field(default_factory=trio.Event)


@dataclass
class Dialer:
    """Dials other peers as `identity`, and tells them the `port` on which this peer listens, or 0 if it does not."""

    identity: Identity
    contexts: Contexts
    network: str
    port: int = 0
    attention: Attention = field(default_factory=Attention)
    """What this peer gives to the messages of all its connections, whoever dialled."""

    def __post_init__(self) -> None:
        # Hundreds of dials at once kill home routers (kubo issue 9998).
        self._dialling: Seats[_Dial] = Seats("dials", MAX_DIALS)
        self._waiting: RoundRobin[_Dial] = RoundRobin()

    async def dial(self, address: Address, expected: PeerId | None = None) -> Connection:
        """Dials the address. Returns a proven connection. Raises PeerGone; another PeerError if the peer misbehaves."""
        while True:
            dial = _Dial(address.host)
            try:
                await self._turn(dial)
                with dial.scope, trio.move_on_after(HANDSHAKE_TIMEOUT_S):
                    return await self._dial(address, expected)
            finally:
                self._leave(dial)
            if not dial.scope.cancelled_caught:
                raise PeerGone(f"{address} did not answer within {HANDSHAKE_TIMEOUT_S:.0f} seconds")

    async def _turn(self, dial: _Dial) -> None:
        entry = self._dialling.enter(dial, dial.host)
        if entry.displaced is not None:
            entry.displaced.scope.cancel()
        if not entry.admitted:
            self._waiting.add(dial, network_of(dial.host), b"")
            await dial.turn.wait()

    def _leave(self, dial: _Dial) -> None:
        self._waiting.drop(dial)
        self._dialling.leave(dial)
        while self._waiting and len(self._dialling) < MAX_DIALS:
            following = self._waiting.serve_next()
            self._dialling.enter(following, following.host)
            following.turn.set()

    async def _dial(self, address: Address, expected: PeerId | None) -> Connection:
        try:
            tcp = await trio.open_tcp_stream(address.host, address.port)
        except OSError as error:
            raise PeerGone(f"{address} cannot be reached: {_root_cause(error)}") from error
        stream = wrap(tcp.socket, self.contexts, server=False)
        try:
            listener = await stream.handshake(self.network)
            if listener is None:
                raise ProtocolViolation("the listener shows no certificate")
            if expected is not None and listener != expected:
                raise ProtocolViolation(f"{address} is peer {compared(listener)}, not {compared(expected)}")
            if listener == self.identity.peer_id:
                raise OwnAddress(f"{address} is this peer itself")
            connection = Connection(stream, self.attention)
            hello = self.hello(stream)
            await connection.greet_listener(self.identity, self.network, listener, stream.remote_host, hello)
        except BaseException:
            stream.close()
            raise
        return connection

    def hello(self, stream: TlsStream) -> Hello:
        """Makes the message in which this peer says over the stream who it is."""
        return Hello(software=SOFTWARE, features=(LINKS,), port=self.port, seen_host=stream.remote_host)


def wrap(connected: trio.socket.SocketType | socket.socket, contexts: Contexts, *, server: bool) -> TlsStream:
    """Moves the socket into a `TlsStream`. Raises PeerGone if the connection is already dead."""
    raw = socket.socket(fileno=connected.detach())
    try:
        return TlsStream(raw, contexts.server if server else contexts.client, server=server)
    except OSError as error:
        raw.close()
        raise PeerGone("the connection broke at once") from error
    except BaseException:
        raw.close()
        raise


def _root_cause(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return _root_cause(cause.exceptions[0])
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
