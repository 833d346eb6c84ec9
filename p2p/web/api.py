"""The operations of the control socket over HTTP, made from the same table of requests and answers.

Each request of `p2p.control.protocol` is asked at `/api/v1/` with its name: a question by GET, with its fields in the
query; what changes something by POST, with its fields as JSON. The answer is the same JSON, and a failure is told with
a status. Whoever accepts `application/jsonl` gets the reply as the socket gives it: progress and notes, then the last
line. A client that goes away cancels its request.
"""

from typing import Any, get_args, get_origin

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2p.concurrency.activity import Activity
from p2p.control import protocol
from p2p.control.protocol import Answer, AnyRequest, Event, Failure
from p2p.control.request import VERSION, ControlRequest
from p2p.errors import ConfigError, MalformedMessage, NotFound, Refused, ShoalError, TargetExists
from p2p.gateway.going import until_gone
from p2p.net.http_server.bodies import Bodies
from p2p.net.http_server.refusals import TooLarge, TooMuch, TooSlow
from p2p.web.deps import Perform, ignore

API = "/api/v1/"
JSON, LINES = "application/json", "application/jsonl"
HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept",
}
REQUESTS: dict[str, type[ControlRequest]] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyRequest)}
"""The requests by name."""


class Api:
    """Answers requests by having the peer perform them."""

    def __init__(self, perform: Perform, activity: Activity) -> None:
        self._perform = perform
        self._activity = activity
        self._bodies = Bodies(protocol.MAX_LINE_BYTES)

    async def answer(self, request: Request) -> Response | None:
        """Makes the answer; None if the client has gone away."""
        try:
            asked = await self._read(request)
        except ShoalError as error:
            return failed(error)
        if type(asked).is_stream or LINES in request.headers.get("accept", ""):
            return _Lines(self._perform, self._activity, asked)

        async def perform() -> Response:
            return _json(await self._perform(asked, ignore))

        with self._activity.under_way():
            try:
                return await until_gone(request.receive, perform)
            except ShoalError as error:
                return failed(error)

    async def _read(self, request: Request) -> AnyRequest:
        """Reads the request in a request. Raises ShoalError."""
        name = request.scope["path"].removeprefix(API)
        kind = REQUESTS.get(name)
        if kind is None:
            raise NotFound(f"There is no such operation. {API}openapi.json lists them.")
        if request.method != method_of(kind):
            raise OtherMethod(method_of(kind))
        if kind.is_question:
            return _converted(_from_query(request, kind), kind, strict=False)
        async with self._bodies.reading(request) as body:
            try:
                given = msgspec.json.decode(body or b"{}")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise MalformedMessage(f"The body is not JSON: {error}.") from None
        return _converted(given, kind, strict=True)


class OtherMethod(MalformedMessage):
    """The request has a method that the address does not take."""

    def __init__(self, method: str) -> None:
        super().__init__(f"This is asked by {method}.")
        self.method = method


class _Lines(Response):
    """The reply as the control socket gives it, line by line."""

    def __init__(self, perform: Perform, activity: Activity, asked: AnyRequest) -> None:
        super().__init__(None, 200, HEADERS, LINES)
        del self.headers["content-length"]
        self._perform = perform
        self._activity = activity
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def emit(event: Event) -> None:
            await send({"type": "http.response.body", "body": protocol.encode(event), "more_body": True})

        async def reply() -> Event:
            try:
                return Answer(await self._perform(self._asked, emit))
            except ShoalError as error:
                return _failure(error)

        with self._activity.under_way():
            last = await until_gone(receive, reply)
        if last is not None:
            await send({"type": "http.response.body", "body": protocol.encode(last), "more_body": False})


def method_of(kind: type[ControlRequest]) -> str:
    """How an operation is asked."""
    return "GET" if kind.is_question else "POST"


def failed(error: ShoalError, status: int | None = None) -> Response:
    """Tells a program what is wrong."""
    response = _json(_failure(error), status or _status(error))
    if isinstance(error, OtherMethod):
        response.headers["allow"] = error.method
    if response.status_code in (429, 503):
        response.headers["retry-after"] = str(error.retry_s if isinstance(error, TooMuch) else 1)
    return response


def _status(error: ShoalError) -> int:
    match error:
        case OtherMethod():
            return 405
        case TooLarge():
            return 413
        case TooSlow():
            return 408
        case TooMuch():
            return 429
        case ConfigError() | MalformedMessage():
            return 400
        case NotFound():
            return 404
        case TargetExists():
            return 409
        case Refused():
            return 503
        case _:
            return 500


def _failure(error: ShoalError) -> Failure:
    return Failure(type(error).__name__, str(error))


def _json(value: Any, status: int = 200) -> Response:
    return Response(protocol.encode_answer(value), status, HEADERS, JSON)


def _from_query(request: Request, kind: type[ControlRequest]) -> dict[str, Any]:
    """The fields in the query: several values of a field that has several, else the last."""
    several = {field.name for field in msgspec.structs.fields(kind) if _is_several(field.type)}
    query = request.query_params
    return {name: query.getlist(name) if name in several else query[name] for name in query}


def _is_several(kind: Any) -> bool:
    return get_origin(kind) in (tuple, list) or any(map(_is_several, get_args(kind)))


def _converted(given: Any, kind: type[ControlRequest], *, strict: bool) -> AnyRequest:
    try:
        asked: Any = msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(f"The request makes no sense: {error}.") from None
    if asked.version != VERSION:
        raise ConfigError(f"This peer speaks version {VERSION}.")
    request: AnyRequest = asked
    return request
