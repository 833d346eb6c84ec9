"""What the tracker's HTTP code shares: who asks, errors as `Problem`, request rates per address.

`Guard` is the outermost layer. It counts requests, limits the rate per address, and makes sure that before an answer is
sent, either the request's body has been read to its end or the connection has been closed: hypercorn would wait for
ever if the application left a body unread. Where no body belongs, it is read before anything else is done: while a
question waits for its turn, hypercorn would hold most of it.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import trio
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as Counted
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2p.concurrency.walls import Wall
from p2p.errors import ConfigError, InternalError, MalformedMessage, NotFound, Refused, ShoalError, StorageError
from p2p.wire.address import canonical
from p2p.wire.tracker import Problem, encode
from tracker.limits import Limits, Rates, TooLong, TooMuch, subject
from tracker.proxies import Proxies
from tracker.turns import Turns

logger = logging.getLogger(__name__)

REQUEST = Wall("request over HTTP")

DRAIN_TIMEOUT_S = 5.0
JSON = "application/json"
ABORT = "shoal.abort"
"""The key, in a request's state, of the function that closes the request's connection."""


class TooLarge(MalformedMessage):
    """Raised for a request whose body is larger than that of any valid request."""


class TooSlow(MalformedMessage):
    """Raised for a request whose body did not arrive in time."""


def asker(request: Request) -> str:
    """The host that the request came from."""
    return canonical(request.client.host) if request.client else ""


def answer(value: Response | bytes, status: int = 200, **headers: str) -> Response:
    """Makes an answer of encoded JSON, which no cache may store."""
    if isinstance(value, Response):
        return value
    return Response(value, status, {"cache-control": "no-store"} | headers, JSON)


def problem(error: ShoalError | str, status: int = 400, sequence: int = 0) -> Response:
    """Makes the answer to a request that cannot be served."""
    headers: dict[str, str] = {}
    match error:
        case TooMuch():
            status = 429
            headers["retry-after"] = str(error.retry_s)
        case TooLong():
            status = 503
        case TooLarge():
            status = 413
        case TooSlow():
            status = 408
        case Refused():
            status = 403
        case NotFound():
            status = 404
        case StorageError():
            # The error's text names paths on this machine, which only its operator may see.
            logger.warning("%s", error)
            error, status = "The tracker cannot use its disk just now. Try again later.", 503
        case MalformedMessage() | ConfigError() | str():
            pass
        case _:
            raise error
    return answer(encode(Problem(str(error)[:1024], sequence)), status, **headers)


class Metrics:
    """The metrics of this process's HTTP requests, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counted(
            "shoal_tracker_requests", "Requests by route and status.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "shoal_tracker_request_seconds",
            "Seconds to the start of the answer, by route.",
            ("route",),
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            registry=self.registry,
        )


class Guard:
    """Wraps the application: counts and limits requests, and leaves no body half read.

    Hypercorn would wait for ever for the rest of the body to be read.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        clock: Callable[[], float],
        proxies: Proxies,
        turns: Turns,
        refuse: Callable[[Request, ShoalError], Response],
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._proxies = proxies
        self._turns = turns
        self._rates = Rates(limits.request_rate, limits.request_burst)
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        started = time.perf_counter()
        connected = scope.get("client")
        self._proxies.believe(scope)
        if scope.get("client") != connected:  # nobody has waited for this one's turn yet
            await self._turns.wait(asker(Request(scope)))
        body = _Body(receive, scope.get("state", {}).get(ABORT))
        status = 500
        # A proxy may take the other length for the true one, and what follows for somebody else's request.
        has_two_lengths = {b"content-length", b"transfer-encoding"} <= {name.lower() for name, _ in scope["headers"]}

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                await body.drain()
                route = _route(scope)
                self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
                if has_two_lengths:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        try:
            self._rates.take(subject(asker(Request(scope))), self._clock())
        except TooMuch as error:
            await self._refuse(Request(scope), error)(scope, body.receive, answering)
        else:
            if scope["method"] != "POST":
                await body.drain()
            with suppress(InternalError), REQUEST.around():  # its client has been told by then
                await self._app(scope, body.receive, answering)
        finally:
            self._metrics.requests.labels(_route(scope), str(status)).inc()


class _Body:
    """Receives the body of a request, and remembers whether it has been read to the end."""

    def __init__(self, receive: Receive, abort: Callable[[], None] | None) -> None:
        self._receive = receive
        self._abort = abort
        self._ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = self._ended or message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Reads what is left of the body; closes the connection if that takes too long."""
        with trio.move_on_after(DRAIN_TIMEOUT_S):
            while not self._ended:
                await self.receive()
        if not self._ended and self._abort is not None:
            self._abort()
            while not self._ended:
                await self.receive()


def _route(scope: Scope) -> str:
    """The path of the route that answered, as the route was declared, so that metrics have few labels."""
    route = scope.get("route")
    return getattr(route, "path", "none")
