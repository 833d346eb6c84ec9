"""One file of a share as an answer: the range asked for, in pieces that are read while those before them are taken.

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
from p2p.gateway.ranges import Span, Unsatisfiable
from p2p.ids import short
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.reading.patience import patiently

logger = logging.getLogger(__name__)

MIN_PIECE_BYTES, MAX_PIECE_BYTES = 64 * 1024, 1024 * 1024
SENDING_BYTES = 32 * 1024 * 1024
"""What all answers together should hold in memory: the more there are, the smaller are the pieces of each."""
AHEAD_BYTES = 16 * 1024 * 1024
QUICK_S = 0.05
"""How quickly a client takes a piece if it is to get larger ones."""
KEPT = "private, max-age=31536000, immutable"
"""A file of a share never changes."""


class Sending:
    """How many answers are being sent, and so how large their pieces may be."""

    def __init__(self) -> None:
        self._count = 0

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1

    @property
    def most(self) -> int:
        """The most bytes of a piece."""
        return max(MIN_PIECE_BYTES, min(MAX_PIECE_BYTES, SENDING_BYTES // max(1, self._count)))


async def answer(
    request: Request, held: OpenShare, file: Entry, sending: Sending, wait_s: float, used: AsyncExitStack
) -> Response:
    """Makes the answer to a request for a file. It counts as being sent until `used` ends. Raises ShoalError."""
    name = file.path[-1]
    tag, modified = conditions.tag_of(file), conditions.time_of(file, time.time())
    headers = kinds.HEADERS | {"accept-ranges": "bytes", "cache-control": KEPT, "etag": tag}
    if modified is not None:
        headers["last-modified"] = modified
    if (refused := conditions.refused_by(request.headers, tag, modified)) is not None:
        return Response(None, refused, headers if refused == 304 else kinds.HEADERS | {"cache-control": "no-store"})
    headers["content-type"] = kinds.type_of(name)
    headers["content-disposition"] = kinds.disposition(name)
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
    body = FileBody(held, "/".join(file.path), span, sending, wait_s, status, headers)
    used.enter_context(sending)
    await body.begin()
    return body


class FileBody(Response):
    """The bytes `span` of a file, after `begin`."""

    def __init__(
        self,
        held: OpenShare,
        path: str,
        span: Span,
        sending: Sending,
        wait_s: float,
        status: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(None, status, headers)
        self._held = held
        self._path = path
        self._at, self._end = span
        self._sending = sending
        self._wait_s = wait_s
        self._piece = b""

    async def begin(self) -> None:
        """Reads the first piece. Raises ShoalError."""
        size = MIN_PIECE_BYTES if self._end - self._at > MAX_PIECE_BYTES else MAX_PIECE_BYTES
        self._piece = await self._next(min(size, self._sending.most))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._at < self._end:
            await until_gone(receive, partial(self._send_all_but_the_last, send))
        if self._at == self._end:
            await send({"type": "http.response.body", "body": self._piece, "more_body": False})

    async def _send_all_but_the_last(self, send: Send) -> None:
        size = MIN_PIECE_BYTES
        while self._at < self._end:
            began = trio.current_time()
            await send({"type": "http.response.body", "body": self._piece, "more_body": True})
            size = 2 * size if trio.current_time() - began < QUICK_S else MIN_PIECE_BYTES
            size = min(size, self._sending.most)
            self._piece = b""
            try:
                self._piece = await self._next(size)
            except ShoalError as error:
                logger.info("an answer with a file of %s ends early: %s", short(self._held.share), error)
                return

    async def _next(self, most: int) -> bytes:
        left = self._end - self._at
        size = min(most, left)
        if left > size:
            await self._ahead(left)
        piece = await patiently(self._held, self._wait_s, partial(self._held.read, self._path, self._at, size))
        self._at += size
        return piece

    async def _ahead(self, left: int) -> None:
        expect = partial(self._held.expect, self._path, self._at, min(AHEAD_BYTES, left))
        await patiently(self._held, self._wait_s, expect)
