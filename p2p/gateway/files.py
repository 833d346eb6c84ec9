"""One file of a share as an answer: the range asked for, in pieces, each read once its client has taken the last.

The first piece is read before anything is sent, so what goes wrong by then is told in words. Later, the connection is
closed before its end, which the client sees by the length that it was told.
"""

import logging
import time
from contextlib import AsyncExitStack
from functools import partial

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2p.core.shares.manifest import Entry
from p2p.errors import ShoalError
from p2p.gateway import conditions, kinds
from p2p.gateway.going import until_gone
from p2p.gateway.memory import Lent, Memory
from p2p.gateway.ranges import Span, Unsatisfiable
from p2p.ids import short
from p2p.net.http_server.exchange import EXCHANGE, Exchange
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.reading.patience import patiently

logger = logging.getLogger(__name__)

FIRST_PIECE_BYTES, PIECE_BYTES = 64 * 1024, 2 * 1024 * 1024
"""How large pieces are: the first of a long answer, so that it begins soon, and the largest."""
AHEAD_BYTES = 16 * 1024 * 1024
QUICK_S = 0.05
"""How quickly a client takes a piece if it is to get larger ones."""
KEPT = "private, max-age=31536000, immutable"
"""A file of a share never changes."""


class Files:
    """Makes answers with files. `memory` is for their pieces."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._tags = conditions.Tags()

    async def answer(
        self, request: Request, held: OpenShare, file: Entry, wait_s: float, used: AsyncExitStack
    ) -> Response:
        """Makes the answer to a request for a file. It holds memory until `used` ends. Raises ShoalError."""
        name = file.path[-1]
        tag, modified = self._tags.of(held.share, file), conditions.time_of(file, time.time())
        headers = kinds.HEADERS | {"accept-ranges": "bytes", "cache-control": KEPT, "etag": tag}
        if modified is not None:
            headers["last-modified"] = modified
        if (refused := conditions.refused_by(request.headers, tag, modified)) is not None:
            return Response(None, refused, headers if refused == 304 else kinds.HEADERS | {"cache-control": "no-store"})
        headers["content-type"] = kinds.type_of(name)
        headers["content-disposition"] = kinds.disposition(name)
        span = None
        if request.method == "GET":  # for no other method do ranges mean anything
            try:
                span = conditions.range_of(request.headers, file.size, tag, modified)
            except Unsatisfiable:
                said = {"cache-control": "no-store", "content-range": f"bytes */{file.size}"}
                return Response(None, 416, kinds.HEADERS | said)
        status = 200
        if span is None:
            span = Span(0, file.size)
        else:
            status = 206
            headers["content-range"] = f"bytes {span.begin}-{span.end - 1}/{file.size}"
        headers["content-length"] = str(span.size)
        if request.method == "HEAD" or not span.size:
            return Response(None, status, headers)
        body = FileBody(held, "/".join(file.path), span, self._memory, wait_s, status, headers)
        used.callback(body.close)
        await body.begin()
        return body


class FileBody(Response):
    """The bytes `span` of a file, after `begin`."""

    def __init__(
        self,
        held: OpenShare,
        path: str,
        span: Span,
        memory: Memory,
        wait_s: float,
        status: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(None, status, headers)
        self._held = held
        self._path = path
        self._at, self._end = span
        """Where the next piece begins, and the whole ends."""
        self._memory = memory
        self._wait_s = wait_s
        self._lent: Lent | None = None
        self._room: bytearray | None = None
        """What the last piece was in, to be used again."""
        self._piece = memoryview(b"")
        """What of the piece is still to be sent."""

    async def begin(self) -> None:
        """Reads the first piece. Raises ShoalError."""
        await self._next(FIRST_PIECE_BYTES if self._end - self._at > PIECE_BYTES else PIECE_BYTES)

    def close(self) -> None:
        """Gives the memory back."""
        self._room, self._piece = None, memoryview(b"")
        if self._lent is not None:
            self._lent.give_back()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["state"][EXCHANGE]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._at + len(self._piece) == self._end:
            await self._send_all(exchange)
        else:
            await until_gone(receive, partial(self._send_all, exchange))

    async def _send_all(self, exchange: Exchange) -> None:
        try:
            await self._send_pieces(exchange)
        except trio.BrokenResourceError:
            pass  # nobody hears it any more
        except ShoalError as error:
            logger.info("an answer with a file of %s ends early: %s", short(self._held.share), error)

    async def _send_pieces(self, exchange: Exchange) -> None:
        size = FIRST_PIECE_BYTES
        while True:
            began = trio.current_time()
            if not await self._send_piece(exchange):
                self.close()
                await exchange.until_taken()
            if self._at == self._end:
                return
            size = min(2 * size, PIECE_BYTES) if trio.current_time() - began < QUICK_S else FIRST_PIECE_BYTES
            await self._next(size)

    async def _send_piece(self, exchange: Exchange) -> bool:
        """Sends the piece. Returns whether its client has taken it before the memory was needed."""
        assert self._lent is not None
        with self._lent.until_needed():
            await exchange.send_piece(self._piece, self._took)
        return not self._piece

    def _took(self, size: int) -> None:
        self._piece = self._piece[size:]
        self._at += size
        if self._lent is not None:
            self._lent.is_used()

    async def _next(self, most: int) -> None:
        size = min(most, self._end - self._at)
        if not self._held.is_here:
            await self._come(size)
        if self._lent is None or self._lent.size != size or self._memory.is_wanted:
            self.close()
            self._lent = await self._memory.borrow(size)
        where = self._path, self._at, self._lent.size
        self._room = self._held.read_now(*where, self._room)
        if self._room is None:
            self._piece = memoryview(await patiently(self._held, self._wait_s, partial(self._held.read, *where)))
        else:
            self._piece = memoryview(self._room)

    async def _come(self, size: int) -> None:
        """Waits until the next bytes are here, so that no memory is borrowed for longer than a disk takes."""
        expect = partial(self._held.expect, self._path, self._at, min(AHEAD_BYTES, self._end - self._at))
        await patiently(self._held, self._wait_s, expect)
        await patiently(self._held, self._wait_s, partial(self._held.ready, self._path, self._at, size))
