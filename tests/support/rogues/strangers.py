"""Strangers: connections that never prove who they are. They say nothing, or replay what a dialer says first."""

import ssl
from contextlib import suppress

from p2p.net.dialer import Dialer
from p2p.wire.address import Address
from tests.support.rogues.crowds import connect_from


def client_hello(dialer: Dialer) -> bytes:
    """What a dialer says first."""
    said = ssl.MemoryBIO()
    tls = dialer.contexts.client.wrap_bio(ssl.MemoryBIO(), said)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return said.read()


class Strangers:
    """Connections from hosts of one's choice that say the same thing, and come again once they are sent away."""

    def __init__(self, at: Address, said: bytes = b"") -> None:
        self._at = at
        self._said = said
        self.came = 0
        """How many connections were made so far."""
        self.answered = 0
        """How many of them were answered."""

    async def one(self, host: str) -> None:
        """One stranger more, until cancelled."""
        while True:
            with suppress(OSError):
                await self._come(host)

    async def _come(self, host: str) -> None:
        with await connect_from(host, self._at) as connected:
            if self._said:
                await connected.send(self._said)
            self.came += 1
            if await connected.recv(1):
                self.answered += 1
                while await connected.recv(4096):
                    pass
