"""The bodies of requests: read within bounds of size and time, and held in memory until they are no longer needed.

Networks share the memory for all bodies (`p2p.places.Seats`), block by block: whoever finds none free has a body of the
network that holds most dropped, if that holds more than its own would. So bodies that never end keep no other network
from sending its own.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.requests import Request

from p2p.errors import MalformedMessage
from p2p.net.http_server.guard import asker
from p2p.net.http_server.refusals import TooLarge, TooMuch, TooSlow
from p2p.places import Seats

MAX_BLOCKS = 2048
BLOCK_BYTES = 16 * 1024
"""How much a place is for. Once decoded, a body is several times as large."""
BODY_TIMEOUT_S = 30.0


class _Body:
    """One request's body. It is given up when its scope is cancelled."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.scope = trio.CancelScope()
        self.pieces: list[bytes] = []
        self.size = 0
        self.blocks = 0


class Bodies:
    """Holds the bodies of requests, each of at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seats: Seats[tuple[_Body, int]] = Seats("blocks of request bodies", MAX_BLOCKS)
        """A body with the number of each of its blocks."""

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[bytes]:
        """Holds a request's body during the context, which is cancelled if others need the memory.

        Raises TooLarge, TooSlow, TooMuch, MalformedMessage.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self._most):
            raise TooLarge(f"The body is larger than {self._most} bytes.")
        body = _Body(asker(request))
        try:
            with body.scope:
                yield await self._read(request, body)
            if body.scope.cancelled_caught:
                raise TooMuch("Memory is needed for requests from other networks. Try again in a while.", 10)
        finally:
            self._leave(body)

    async def _read(self, request: Request, body: _Body) -> bytes:
        with trio.move_on_after(BODY_TIMEOUT_S) as patience:
            await self._receive(request, body)
        if patience.cancelled_caught:
            raise TooSlow(f"The body did not come within {BODY_TIMEOUT_S:.0f} seconds.")
        await trio.lowlevel.checkpoint_if_cancelled()  # it may have been dropped when it was complete
        whole = b"".join(body.pieces)
        body.pieces.clear()
        return whole

    async def _receive(self, request: Request, body: _Body) -> None:
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise MalformedMessage("The connection ended in the middle of the body.")
            piece = message.get("body", b"")
            if body.size + len(piece) > self._most:
                raise TooLarge(f"The body is larger than {self._most} bytes.")
            self._hold(body, piece)
            more = message.get("more_body", False)

    def _hold(self, body: _Body, piece: bytes) -> None:
        body.size += len(piece)
        body.pieces.append(piece)
        while body.blocks * BLOCK_BYTES < body.size:
            entry = self._seats.enter((body, body.blocks), body.host)
            if not entry.admitted:
                raise TooMuch("Too much is being read already. Try again in a while.", 10)
            body.blocks += 1
            if entry.displaced is not None:
                self._drop(entry.displaced[0])

    def _drop(self, body: _Body) -> None:
        body.scope.cancel()
        body.pieces.clear()
        self._leave(body)

    def _leave(self, body: _Body) -> None:
        for number in range(body.blocks):
            self._seats.leave((body, number))
        body.blocks = 0
