"""HTTP/1.1 on one connection, from its first request to its end."""

from typing import Any

import h11
import trio
from starlette.types import ASGIApp

from p2p.net.http_server import framing
from p2p.net.http_server.exchange import EXCHANGE, Exchange, scope_of
from p2p.net.http_server.framing import Answer, Asked
from p2p.net.http_server.guard import ABORT
from p2p.net.http_server.stream import Stream

IDLE_TIMEOUT_S = 30.0
"""How long a connection may take to say the head of its first request, and of the next after each answer."""
KEPT_REQUESTS = 10_000
"""After how many requests a connection ends."""


class Speaker:
    """Speaks HTTP for an application, on one connection or many."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._ends = False
        self._idle: set[trio.CancelScope] = set()

    async def speak(self, stream: Stream) -> None:
        """Serves one connection to its end, and closes it."""
        try:
            await self._serve(stream)
            await stream.send_eof()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            stream.abort()

    async def end(self) -> None:
        """Has each connection end after the answer under way, or at once if there is none."""
        self._ends = True
        for idle in self._idle:
            idle.cancel()

    async def _serve(self, stream: Stream) -> None:
        client, server = map(_host, stream.ends())
        reader: h11.Connection | None = framing.reader()
        number = 0

        def is_last() -> bool:
            return self._ends or number >= KEPT_REQUESTS

        while reader is not None and not is_last():
            try:
                request = await self._request(stream, reader)
                if request is None:
                    return
                asked = framing.asked_by(request)
            except h11.RemoteProtocolError as error:
                await stream.send_all(_refusal(error.error_status_hint))
                return
            number += 1
            exchange = Exchange(stream, reader, asked, is_last)
            scope = {
                **scope_of(request),
                "client": client,
                "server": server,
                "state": {ABORT: stream.abort, EXCHANGE: exchange},
            }
            await self._application(scope, exchange.receive, exchange.send)
            reader = await exchange.finish()

    async def _request(self, stream: Stream, reader: h11.Connection) -> h11.Request | None:
        """Waits for the next request; None if none comes. Raises RemoteProtocolError if something else comes."""
        with trio.move_on_after(IDLE_TIMEOUT_S) as idle:
            self._idle.add(idle)
            try:
                if reader.trailing_data[0]:
                    await stream.turn()  # it came with the one before
                while (event := reader.next_event()) is h11.NEED_DATA:
                    reader.receive_data(await stream.receive_some())
            finally:
                self._idle.discard(idle)
            if isinstance(event, h11.Request):
                return event
        return None


def _host(address: Any) -> tuple[str, int] | None:
    """An address as ASGI has it; None for that of a Unix socket."""
    return (address[0], address[1]) if isinstance(address, tuple) else None


def _refusal(status: int) -> bytes:
    return Answer(Asked(), status, [(b"content-length", b"0")], is_last=True).head
