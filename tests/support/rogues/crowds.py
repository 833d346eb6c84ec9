"""Connections from hosts of one's choice in the loopback network, and what a crowd of rogues does with them."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import trio

from p2p.errors import PeerError
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer, wrap
from p2p.node import Node
from p2p.wire.address import Address
from tests.support.pipes import make_dialer
from tests.support.world import NETWORK

RECEIVED_AHEAD_BYTES = 32 * 1024
"""How much the system receives for a rogue that does not read."""

Misuse = Callable[[Connection], Awaitable[None]]


async def connect_from(host: str, address: Address) -> trio.socket.SocketType:
    """A TCP connection that comes from a certain host of the loopback network."""
    connecting = trio.socket.socket()
    connecting.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, RECEIVED_AHEAD_BYTES)
    try:
        await connecting.bind((host, 0))
        await connecting.connect(tuple(address))
    except BaseException:
        connecting.close()
        raise
    return connecting


async def dial_from(dialer: Dialer, host: str, address: Address) -> Connection:
    """A proven connection that comes from a certain host."""
    stream = wrap(await connect_from(host, address), dialer.contexts, server=False)
    try:
        peer = await stream.handshake(dialer.network)
        assert peer is not None
        connection = Connection(stream)
        await connection.greet_listener(dialer.identity, dialer.network, peer, stream.remote_host, dialer.hello(stream))
    except BaseException:
        stream.close()
        raise
    return connection


class Crowd:
    """Identities at hosts of one's choice that misuse a peer; whoever is sent away comes back."""

    def __init__(self, folder: Path, at: Node, misuse: Misuse) -> None:
        self._folder = folder
        self._at = at
        self._misuse = misuse
        self._identities = 0
        self.came = 0
        """How many connections were made so far."""

    async def one(self, host: str) -> None:
        """One identity more, until cancelled."""
        self._identities += 1
        dialer = make_dialer(self._folder / f"rogue{self._identities}", NETWORK)
        while True:
            with suppress(PeerError):
                connection = await dial_from(dialer, host, self._at.addresses[0])
                self.came += 1
                try:
                    await self._misuse(connection)
                finally:
                    connection.close()
            await trio.sleep(0.2)


async def read_slowly(connection: Connection, bytes_per_s: float) -> None:
    """Reads what comes at this rate, and never says anything but that it is there. Raises PeerGone."""
    view = memoryview(bytearray(1024))
    at = trio.current_time()
    while True:
        await connection._stream.receive_exactly_into(view)
        at += len(view) / bytes_per_s
        await trio.sleep_until(at)
