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

Misuse = Callable[[Connection], Awaitable[None]]


async def connect_from(host: str, address: Address) -> trio.socket.SocketType:
    """A TCP connection that comes from a certain host of the loopback network."""
    connecting = trio.socket.socket()
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
    peer = await stream.handshake(dialer.network)
    assert peer is not None
    connection = Connection(stream)
    await connection.greet_listener(dialer.identity, dialer.network, peer, stream.remote_host, dialer.hello(stream))
    return connection


class Crowd:
    """Identities at hosts of one's choice that misuse a peer; whoever is sent away comes back."""

    def __init__(self, folder: Path, at: Node, misuse: Misuse) -> None:
        self._folder = folder
        self._at = at
        self._misuse = misuse
        self.came = 0
        """How many connections were made so far."""

    async def one(self, host: str) -> None:
        """One identity, until cancelled."""
        dialer = make_dialer(self._folder / host, NETWORK)
        while True:
            with suppress(PeerError):
                connection = await dial_from(dialer, host, self._at.addresses[0])
                self.came += 1
                try:
                    await self._misuse(connection)
                finally:
                    connection.close()
            await trio.sleep(0.2)
