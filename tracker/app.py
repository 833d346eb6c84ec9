"""The tracker over HTTP: the API of `p2p.wire.tracker`, the pages, metrics, and the BitTorrent half.

A client's address is taken from a proxy's header only if the operator named that proxy. Behind any other proxy, all
requests appear to come from the proxy itself.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, TypeVar

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from p2p import ids
from p2p.concurrency import walls
from p2p.concurrency.walls import Wall
from p2p.errors import MalformedMessage, NotFound, Refused, ShoalError
from p2p.ids import PeerId, ShareId
from p2p.net.dialer import SOFTWARE
from p2p.net.http_server.bodies import Bodies
from p2p.net.http_server.events import event, stream
from p2p.net.http_server.guard import Guard, asker
from p2p.net.http_server.metrics import Measured, Metrics, gauges
from p2p.net.http_server.refusals import TooMuch, subject
from p2p.net.http_server.turns import Turns
from p2p.site.openapi import ApiOperation, describe
from p2p.wire.tracker import (
    MAX_ANNOUNCE_BYTES,
    MAX_QUERY_CHARS,
    MAX_RESULTS,
    NETWORK_HEADER,
    PEER_HEADER,
    SIGNATURE_HEADER,
    Announce,
    Announced,
    Bytes,
    Kind,
    PeerView,
    Problem,
    SearchAnswer,
    ShareView,
    SourcesAnswer,
    Statistics,
    VolunteersAnswer,
    encode,
    key_from_text,
)
from tracker import web
from tracker.changes import Conflict
from tracker.cursor import MAX_CURSOR_CHARS
from tracker.http import Admission, answer, problem
from tracker.proxies import Proxies
from tracker.service import Service
from tracker.store import HISTORY_S
from tracker.torrents import bittorrent
from tracker.torrents.bittorrent import Torrents

API = "/api/v1"
METRICS = "shoal_tracker"
FIGURES = Wall("figures among the metrics")

DESCRIPTION = (
    "Search, browse, who has what, who offers compute. Ids are base32, sizes bytes, times seconds. "
    "Errors are a Problem."
)

Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_RESULTS)]
Cursor = Annotated[str, msgspec.Meta(max_length=MAX_CURSOR_CHARS)]


class _Query(msgspec.Struct, frozen=True):
    """Base class for the parameters of a query string; unknown parameters are ignored."""


class SearchQuery(_Query, frozen=True):
    """The parameters of a search: the text, the filters, and which part of the results to return."""

    q: Annotated[str, msgspec.Meta(max_length=MAX_QUERY_CHARS)] = ""
    kind: Kind | None = None
    min_size: Bytes | None = None
    max_size: Bytes | None = None
    limit: Limit = 50
    cursor: Cursor = ""


class PageQuery(_Query, frozen=True):
    """The parameters of a paged list: which part of it to return."""

    limit: Limit = 50
    cursor: Cursor = ""


class VolunteersQuery(_Query, frozen=True):
    """The parameters of a list of volunteers: what each must offer at least, and which part of the list to return."""

    runtime: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    cores: Bytes = 0
    memory: Bytes = 0
    limit: Limit = 50
    cursor: Cursor = ""


class StatisticsQuery(_Query, frozen=True):
    """The parameter of the statistics: how many hours of history to return."""

    hours: Annotated[float, msgspec.Meta(ge=0, le=HISTORY_S / 3600)] = 24.0


OPERATIONS = [
    ApiOperation(
        f"{API}/announce",
        "Say what one peer has and offers: a signed delta.",
        Announced,
        problems=(400, 403, 408, 409, 413, 429, 503),
        body=Announce,
        headers=(
            (PEER_HEADER, "The announcer's peer id."),
            (
                SIGNATURE_HEADER,
                "Base64 of its Ed25519 signature over the body as sent, with the purpose of announces.",
            ),
        ),
    ),
    ApiOperation(f"{API}/search", "Listed shares with all of the words.", SearchAnswer, SearchQuery, (400, 429, 503)),
    ApiOperation(f"{API}/shares/{{share}}", "A listed share.", ShareView, problems=(400, 404, 429, 503)),
    ApiOperation(
        f"{API}/sources/{{key}}", "Who has the share with a provider key.", SourcesAnswer, problems=(400, 429, 503)
    ),
    ApiOperation(f"{API}/peers/{{peer}}", "What a peer lists and offers.", PeerView, PageQuery, (400, 404, 429, 503)),
    ApiOperation(f"{API}/volunteers", "Who offers compute.", VolunteersAnswer, VolunteersQuery, (400, 429, 503)),
    ApiOperation(f"{API}/statistics", "The network now and before.", Statistics, StatisticsQuery, (400, 429, 503)),
    ApiOperation(
        f"{API}/events",
        "The network's figures as they change, as server-sent events.",
        Statistics,
        problems=(429,),
        media_type="text/event-stream",
    ),
]

Q = TypeVar("Q", bound=_Query)
Endpoint = Callable[[Request], Awaitable[Response]]


def build(service: Service, torrents: Torrents, proxies: Proxies, turns: Turns) -> ASGIApp:
    """Builds the whole application."""
    metrics = Metrics(METRICS)
    api = _Api(service)
    half = _BitTorrent(torrents)
    described_as = describe(
        OPERATIONS, Problem, title="Shoal tracker", version=SOFTWARE.partition("/")[2], text=DESCRIPTION
    )
    description = json.dumps(described_as).encode()

    async def described(_: Request) -> Response:
        return answer(description)

    async def measured(_: Request) -> Response:
        figures: list[bytes] = []

        async def measure() -> None:
            figures.append(_gauges(await service.statistics(0)))

        # Whatever is wrong with the figures, the number of bugs is told.
        await FIGURES.contain(measure)
        return metrics.answer(*figures, gauges(METRICS, {"bugs": walls.bugs.count}))

    async def healthy(_: Request) -> Response:
        await service.statistics(0)
        return Response("ok\n", media_type="text/plain")

    routes: list[BaseRoute] = [
        Route(f"{API}/announce", _checked(api.announce), methods=["POST"]),
        Route(f"{API}/search", _asked(service.network, api.search)),
        Route(f"{API}/shares/{{share}}", _asked(service.network, api.share)),
        Route(f"{API}/sources/{{key}}", _asked(service.network, api.sources)),
        Route(f"{API}/peers/{{peer}}", _asked(service.network, api.peer)),
        Route(f"{API}/volunteers", _asked(service.network, api.volunteers)),
        Route(f"{API}/statistics", _asked(service.network, api.statistics)),
        Route(f"{API}/events", _Events(service)),
        Route(f"{API}/openapi.json", described),
        Route("/announce", half.announce),
        Route("/scrape", half.scrape),
        Route("/metrics", _checked(measured)),
        Route("/healthz", _checked(healthy)),
        *web.routes(service),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_here, ShoalError: _refused, 500: _broken})
    admission = Admission(service.limits, trio.current_time, proxies, turns)
    return Measured(Guard(app, admission.admit, _refusal), metrics)


def _asked(network: str, endpoint: Endpoint) -> Endpoint:
    """Wraps the endpoint: refuses peers of other networks, which could not fetch what they find here."""

    async def ask(request: Request) -> Response:
        theirs = request.headers.get(NETWORK_HEADER, network)
        if theirs != network:
            raise Refused(f"This tracker belongs to the network {network!r}, and you to {theirs[:64]!r}.")
        return await endpoint(request)

    return _checked(ask)


class _Api:
    """The routes that answer with JSON."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bodies = Bodies(MAX_ANNOUNCE_BYTES)

    async def announce(self, request: Request) -> Response:
        async with self._bodies.reading(request) as body:
            outcome = await self._service.announce(
                body,
                request.headers.get(PEER_HEADER, "")[:100],
                request.headers.get(SIGNATURE_HEADER, "")[:200],
                host=asker(request),
                reached_by=request.headers.get("host", "")[:300],
            )
        if isinstance(outcome, Conflict):
            said = "This announce does not follow from the last one known here. Announce everything, with reset."
            return problem(said, 409, outcome.sequence)
        return answer(encode(outcome))

    async def search(self, request: Request) -> Response:
        asked = _query(request, SearchQuery)
        return answer(
            encode(
                await self._service.search(
                    asked.q,
                    kind=asked.kind,
                    min_size=asked.min_size,
                    max_size=asked.max_size,
                    limit=asked.limit,
                    cursor=asked.cursor,
                    asker=asker(request),
                )
            )
        )

    async def share(self, request: Request) -> Response:
        share = ShareId(_id(request.path_params["share"]))
        return answer(encode(await self._service.share(share, asker(request))))

    async def sources(self, request: Request) -> Response:
        try:
            key = key_from_text(request.path_params["key"])
        except ValueError as error:
            raise MalformedMessage(f"This is not a provider key: {error}.") from None
        return answer(encode(await self._service.sources(key, asker(request))))

    async def peer(self, request: Request) -> Response:
        asked = _query(request, PageQuery)
        peer = PeerId(_id(request.path_params["peer"]))
        view = await self._service.peer(peer, limit=asked.limit, cursor=asked.cursor, asker=asker(request))
        return answer(encode(view))

    async def volunteers(self, request: Request) -> Response:
        asked = _query(request, VolunteersQuery)
        return answer(
            encode(
                await self._service.volunteers(
                    runtime=asked.runtime or None,
                    cores=asked.cores,
                    memory=asked.memory,
                    limit=asked.limit,
                    cursor=asked.cursor,
                    asker=asker(request),
                )
            )
        )

    async def statistics(self, request: Request) -> Response:
        return answer(encode(await self._service.statistics(_query(request, StatisticsQuery).hours, asker(request))))


class _Events:
    """An ASGI application that streams the figures as events, until the client disconnects or the service stops."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._listening: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await problem("Ask for events with GET.", 405)(scope, receive, send)
            return
        address = subject(asker(Request(scope)))
        count = self._listening.get(address, 0)
        if count >= self._service.limits.event_streams_per_address:
            await problem(TooMuch("Too many event streams to this address are open already.", 60))(scope, receive, send)
            return
        self._listening[address] = count + 1
        try:
            await self._stream(scope, receive, send)
        finally:
            self._listening[address] -= 1
            if not self._listening[address]:
                del self._listening[address]

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._service.changes(asker(Request(scope)))) as changes:
            try:
                figures = await anext(changes, None)
            except TooMuch as error:
                await problem(error)(scope, receive, send)
                return

            async def told() -> AsyncGenerator[bytes, None]:
                said = figures
                while said is not None:
                    yield event("statistics", encode(said))
                    said = await anext(changes, None)

            await stream(told(), receive, send)


class _BitTorrent:
    """The routes for BitTorrent clients, which expect status 200 even for refusals."""

    def __init__(self, torrents: Torrents) -> None:
        self._torrents = torrents

    async def announce(self, request: Request) -> Response:
        host = asker(request)
        try:
            asked = bittorrent.read_announce(request.scope["query_string"], host)
            said = self._torrents.announce(asked, host, trio.current_time())
        except (MalformedMessage, Refused) as error:
            said = bittorrent.failure(str(error))
        return Response(said, media_type="text/plain")

    async def scrape(self, request: Request) -> Response:
        try:
            hashes = bittorrent.read_scrape(request.scope["query_string"])
            said = self._torrents.scrape(hashes, trio.current_time())
        except MalformedMessage as error:
            said = bittorrent.failure(str(error))
        return Response(said, media_type="text/plain")


def _checked(endpoint: Endpoint) -> Endpoint:
    """Wraps the JSON endpoint: answers its refusals as problems."""

    async def checked(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ShoalError as error:
            return problem(error)

    return checked


def _query(request: Request, kind: type[Q]) -> Q:
    """Reads and checks the query's parameters; an empty one counts as absent. Raises MalformedMessage."""
    given = {name: value for name, value in request.query_params.items() if value}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise MalformedMessage(f"The query makes no sense: {error}.") from None


def _id(text: str) -> bytes:
    try:
        return ids.from_text(text)
    except ValueError as error:
        raise NotFound(f"This is not an id: {error}.") from None


def _gauges(figures: Statistics) -> bytes:
    """The network's figures in the format of Prometheus."""
    now = figures.now
    return gauges(
        METRICS,
        {
            "peers": now.peers,
            "shares": now.shares,
            "shared_bytes": now.bytes,
            "cores": now.cores,
            "volunteers": figures.volunteers,
            "dialable_peers": figures.dialable,
            "torrents": figures.torrents,
            "torrent_peers": figures.torrent_peers,
        },
    )


async def _not_here(request: Request, error: Exception) -> Response:
    """Answers what Starlette itself refuses: an unknown address, or a method that an address does not have."""
    assert isinstance(error, HTTPException)
    said = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    text = said.get(error.status_code, error.detail)
    if web.wants_page(request):
        return web.error_page(request, error.status_code, text)
    return problem(text, error.status_code)


async def _refused(request: Request, error: Exception) -> Response:
    """Answers a refusal that no page has shown itself."""
    assert isinstance(error, ShoalError)
    return _refusal(request, error)


def _refusal(request: Request, error: ShoalError) -> Response:
    """Answers a refusal, with the same words and headers for people and for programs."""
    shown = problem(error)
    if not web.wants_page(request):
        return shown
    page = web.error_page(request, shown.status_code, msgspec.json.decode(bytes(shown.body), type=Problem).error)
    if "retry-after" in shown.headers:
        page.headers["retry-after"] = shown.headers["retry-after"]
    return page


async def _broken(request: Request, _: Exception) -> Response:
    """Answers a fault of the tracker itself: the log has the details, the client learns nothing more."""
    text = "The tracker has made a mistake. Its log has the details; try something else meanwhile."
    return web.error_page(request, 500, text) if web.wants_page(request) else problem(text, 500)
