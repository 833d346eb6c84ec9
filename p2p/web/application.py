"""The application behind a peer's HTTP: which address leads to which part.

/s/, /n/        shares: `p2p.gateway`
/api/v1/NAME    the operations of the control socket
/api/v1/events  what changes
/metrics        figures for Prometheus
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2p.concurrency.activity import Activity
from p2p.errors import ShoalError
from p2p.gateway.application import Gateway, told
from p2p.net.http_server.events import stream
from p2p.net.http_server.metrics import Metrics
from p2p.web.api import API, HEADERS, REQUESTS, Api, OtherMethod, failed
from p2p.web.deps import Perform
from p2p.web.description import EVENTS, description
from p2p.web.events import Feed
from p2p.web.figures import figures
from p2p.web.permission import HOME, LOGIN, LOGOUT, SHARES

OPENAPI, METRICS = f"{API}openapi.json", "/metrics"
_KNOWN = frozenset({OPENAPI, METRICS, EVENTS, HOME, LOGIN, LOGOUT, *(API + name for name in REQUESTS)})


class Application:
    """The ASGI application."""

    def __init__(self, gateway: Gateway, perform: Perform, feed: Feed, activity: Activity, metrics: Metrics) -> None:
        self._gateway = gateway
        self._perform = perform
        self._feed = feed
        self._api = Api(perform, activity)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        request = Request(scope, receive)
        try:
            if path == EVENTS:
                events = self._feed.listen(_asked(request).query_params.getlist("topic"))
                await stream(events, receive, send)
                return
            if path == OPENAPI:
                response: Response | None = _description(_asked(request))
            elif path.startswith(API):
                response = await self._api.answer(request)
            elif path == METRICS:
                _asked(request)
                response = self._metrics.answer(await figures(self._perform))
            else:
                await self._gateway(scope, receive, send)
                return
        except ShoalError as error:
            response = failed(error)
        if response is not None:
            await response(scope, receive, send)


def _asked(request: Request) -> Request:
    """The request, which asks and changes nothing. Raises OtherMethod."""
    if request.method != "GET":
        raise OtherMethod("GET")
    return request


def _description(_: Request) -> Response:
    return Response(description(), headers=HEADERS, media_type="application/json")


def route(scope: Scope) -> str:
    """The kind of address that a request is for, so that metrics have few labels."""
    path: str = scope["path"]
    if SHARES.match(path):
        return path[:3]
    return path if path in _KNOWN else "none"


def refuse(request: Request, error: ShoalError) -> Response:
    """Answers a refusal, for people or for programs."""
    return failed(error) if request.scope["path"].startswith(API) else told(request, error)
