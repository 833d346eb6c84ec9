"""Connections over in-memory streams, which split the bytes as a test chooses and count them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import trio
from trio.testing import memory_stream_pair

from p2p.errors import PeerGone
from p2p.identity import Identity, load_or_create
from p2p.net.connection import Connection, Ends
from p2p.net.dialer import Dialer
from p2p.net.tls import Contexts
from p2p.wire.messages import Hello

NETWORK = "test-io"


class Pipe:
    """One end of an in-memory `ByteStream`. At most `cut()` bytes arrive at a time; `largest` is the most ever asked
    for.
    """

    def __init__(self, stream: trio.StapledStream, cut: Callable[[], int]) -> None:  # type: ignore[type-arg]
        self._stream = stream
        self._cut = cut
        self.largest = 0
        self.arriving = 0
        self.sent: list[int] = []
        self.closed = False

    def receive_ready_into(self, view: memoryview) -> int:
        return 0

    async def receive_some_into(self, view: memoryview) -> int:
        self.largest = max(self.largest, len(view))
        try:
            data = await self._stream.receive_some(min(len(view), max(1, self._cut())))
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            raise PeerGone("broken") from error
        if not data:
            raise PeerGone("closed")
        view[: len(data)] = data
        return len(data)

    async def receive_exactly_into(self, view: memoryview) -> None:
        at = 0
        while at < len(view):
            self.arriving = at
            at += await self.receive_some_into(view[at:])
        self.arriving = 0

    async def send_all(self, *pieces: bytes | bytearray | memoryview) -> None:
        self.sent += map(len, pieces)
        try:
            await self._stream.send_all(b"".join(pieces))
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            raise PeerGone("broken") from error

    def bound_unsent(self, size: int) -> None:
        self.unsent = size

    def close(self) -> None:
        self.closed = True
        self._stream.send_stream.close()
        self._stream.receive_stream.close()


def pipes(cut: Callable[[], int] = lambda: 1 << 20) -> tuple[Pipe, Pipe]:
    """Both ends of a pipe."""
    one, other = memory_stream_pair()
    return Pipe(one, cut), Pipe(other, cut)


def proven(stream: Pipe, own: Identity, peer: Identity, *, dialed: bool) -> Connection:
    """A connection in its state after the handshake."""
    connection = Connection(stream)
    connection._greeted(Ends(own.peer_id, peer.peer_id, Hello(), "127.0.0.1", dialed))
    return connection


def connections(cut: Callable[[], int] = lambda: 1 << 20) -> tuple[Connection, Connection]:
    """Two connected ends that have proven their identities."""
    one, other = pipes(cut)
    dialer, listener = Identity.generate(), Identity.generate()
    return proven(one, dialer, listener, dialed=True), proven(other, listener, dialer, dialed=False)


async def endlessly(use: Callable[[], Awaitable[object]]) -> NoReturn:
    """Repeats the same call until it raises."""
    while True:
        await use()


def make_dialer(home: Path, network: str = NETWORK) -> Dialer:
    """A peer that can dial, with an identity of its own in `home`."""
    home.mkdir(parents=True, exist_ok=True)
    identity = load_or_create(home)
    return Dialer(identity, Contexts(identity, home, network), network)
