"""The outermost layer of every application.

`Guard` makes sure that before an answer is sent, either the request's body has been read to its end or the connection
has been closed: a client that is still sending may not hear an answer. Where no body belongs, it is read before
anything else is done.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2p.concurrency.walls import Wall
from p2p.errors import InternalError, Refused, ShoalError
from p2p.wire.address import canonical

REQUEST = Wall("request over HTTP")

DRAIN_TIMEOUT_S = 5.0
ABORT = "shoal.abort"
"""The key, in a request's state, of the function that closes the request's connection."""

_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
"""The headers of requests that have a body."""

Admit = Callable[[Scope], Awaitable[None]]
"""Waits until a request may be answered. Raises Refused if it may not."""


def asker(request: Request) -> str:
    """The host that the request came from; empty if it came over a Unix socket."""
    return canonical(request.client.host) if request.client else ""


class Guard:
    """Wraps the application: `admit` lets each request in, or `refuse` answers it. Leaves no body half read."""

    def __init__(self, app: ASGIApp, admit: Admit, refuse: Callable[[Request, ShoalError], Response]) -> None:
        self._app = app
        self._admit = admit
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(scope, receive)

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.drain()
            await send(message)

        try:
            await self._admit(scope)
        except Refused as error:
            await self._refuse(Request(scope), error)(scope, body.receive, answering)
            return
        if scope["method"] != "POST":
            await body.drain()
            if body.is_gone:
                return
        with suppress(InternalError), REQUEST.around():  # its client has been told by then
            await self._app(scope, body.receive, answering)


class _Body:
    """Receives the body of a request, and remembers whether it has been read to the end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._abort: Callable[[], None] | None = scope.get("state", {}).get(ABORT)
        self._ended = not any(name in _LENGTHS for name, _ in scope["headers"])
        self.is_gone = False
        """Whether its client has gone, or sent what is no body."""

    async def receive(self) -> Message:
        message = await self._receive()
        self.is_gone = self.is_gone or message["type"] == "http.disconnect"
        self._ended = self._ended or self.is_gone or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Reads what is left of the body; closes the connection if that takes too long."""
        if self._ended:
            return
        with trio.move_on_after(DRAIN_TIMEOUT_S):
            while not self._ended:
                await self.receive()
        if not self._ended and self._abort is not None:
            self._abort()
            while not self._ended:
                await self.receive()
