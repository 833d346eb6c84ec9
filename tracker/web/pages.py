"""The addresses of the pages, and what each page gets from the service. A bad address is answered with a page too."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from p2p import ids
from p2p.errors import ConfigError, MalformedMessage, NotFound
from p2p.formats import parse_size
from p2p.ids import PeerId, ShareId
from p2p.site import charts
from p2p.wire.address import canonical
from p2p.wire.tracker import Kind, Moment, Statistics
from tracker.service import Service
from tracker.web import text
from tracker.web.site import error_page, page, static

MAX_QUERY_CHARS = 200
MAX_SIZE = 2**53 - 1
MAX_SIZE_CHARS = 32
MAX_CORES = 4096
PER_PAGE = 25
POPULAR = 8
SOURCES = 12
"""The number of sources shown at first; the others are folded away."""
TABLE_ROWS = 25
SIZES = ("1MiB", "10MiB", "100MiB", "1GiB", "10GiB", "100GiB")
MEMORIES = ("256MiB", "512MiB", "1GiB", "2GiB", "4GiB", "8GiB")
RANGES = {"24": "24 hours", "168": "7 days"}

Page = Callable[[Service, Request], Awaitable[Response]]


def routes(service: Service) -> list[Route]:
    """Every page, and the static files that they use."""
    pages: dict[str, Page] = {
        "/": home,
        "/search": search,
        "/shares/{share}": share,
        "/peers/{peer}": peer,
        "/volunteers": volunteers,
        "/network": network,
        "/about": about,
    }
    return [
        *(Route(path, _endpoint(shown, service), methods=["GET"]) for path, shown in pages.items()),
        Route("/static/{name}", static, methods=["GET"]),
    ]


def _endpoint(shown: Page, service: Service) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await shown(service, request)
        except NotFound as error:
            return error_page(request, 404, str(error))
        except (ConfigError, MalformedMessage) as error:
            return error_page(request, 400, str(error))

    return endpoint


async def home(service: Service, request: Request) -> Response:
    """The search box, the network at a glance, and what most peers have."""
    statistics = await service.statistics(asker=_asker(request))
    popular = await service.search("", limit=POPULAR, asker=_asker(request))
    return page(request, "home.html", {"statistics": statistics, "popular": popular.results})


async def search(service: Service, request: Request) -> Response:
    """The results of a search, or all listed shares if nothing was asked for."""
    asked = request.query_params
    query = " ".join(asked.get("q", "")[:MAX_QUERY_CHARS].split())
    kind, smallest, largest = _kind(asked.get("kind", "")), _short(asked.get("min_size")), _short(asked.get("max_size"))
    cursor = asked.get("cursor", "")
    answer = await service.search(
        query,
        kind=kind,
        min_size=_size(smallest),
        max_size=_size(largest),
        limit=PER_PAGE,
        cursor=cursor,
        asker=_asker(request),
    )
    filters = {"q": query, "kind": kind.value if kind else "", "min_size": smallest, "max_size": largest}
    context = {
        "query": query,
        "answer": answer,
        "filters": filters,
        "filtered": any(value for name, value in filters.items() if name != "q"),
        "sizes": SIZES,
        "of_kind": {name: _address("/search", filters | {"kind": name}) for name in ("", *Kind)},
        "first": _address("/search", filters) if cursor else "",
        "next": _address("/search", filters | {"cursor": answer.cursor}) if answer.cursor else "",
    }
    return page(request, "search.html", context)


async def share(service: Service, request: Request) -> Response:
    """A share: its files, who has it, and how to get it."""
    view = await service.share(ShareId(_id(request.path_params["share"], "share")), _asker(request))
    files = [(content.path, content.size) for content in view.contents]
    return page(
        request, "share.html", {"view": view, "found": view.found, "folders": text.folders(files), "shown": SOURCES}
    )


async def peer(service: Service, request: Request) -> Response:
    """A peer: what it lists and what compute it offers."""
    cursor = request.query_params.get("cursor", "")
    named = PeerId(_id(request.path_params["peer"], "peer"))
    view = await service.peer(named, limit=PER_PAGE, cursor=cursor, asker=_asker(request))
    here = f"/peers/{view.peer}"
    following = _address(here, {"cursor": view.cursor}) if view.cursor else ""
    return page(request, "peer.html", {"view": view, "first": here if cursor else "", "next": following})


async def volunteers(service: Service, request: Request) -> Response:
    """Compute on offer, the most idle cores first."""
    asked = request.query_params
    runtime, cores, memory = asked.get("runtime", "")[:255].strip(), asked.get("cores", ""), _short(asked.get("memory"))
    cursor = asked.get("cursor", "")
    answer = await service.volunteers(
        runtime=runtime or None,
        cores=_cores(cores),
        memory=_size(memory) or 0,
        limit=PER_PAGE,
        cursor=cursor,
        asker=_asker(request),
    )
    filters = {"runtime": runtime, "cores": cores, "memory": memory}
    context = {
        "answer": answer,
        "filters": filters,
        "filtered": any(filters.values()),
        "memories": MEMORIES,
        "first": _address("/volunteers", filters) if cursor else "",
        "next": _address("/volunteers", filters | {"cursor": answer.cursor}) if answer.cursor else "",
    }
    return page(request, "volunteers.html", context)


async def network(service: Service, request: Request) -> Response:
    """The network now and over the last hours, as curves and as a table."""
    span = request.query_params.get("hours", "24")
    if span not in RANGES:
        raise ConfigError(f"The network can be shown over {' or '.join(RANGES)} hours. Choose one of these.")
    statistics = await service.statistics(float(span), _asker(request))
    moments = [*statistics.history, statistics.now]
    context = {
        "statistics": statistics,
        "charts": _charts(statistics, float(span) * 3600),
        "moments": charts.sampled(moments, TABLE_ROWS)[::-1],
        "span": span,
        "ranges": RANGES,
    }
    return page(request, "network.html", context)


async def about(_: Service, request: Request) -> Response:
    """What Shoal is, how to join, and what programs can ask for."""
    return page(request, "about.html", {})


def _charts(statistics: Statistics, span_s: float) -> list[dict[str, object]]:
    end = statistics.now.time
    moments = [*statistics.history, statistics.now]
    figures: list[tuple[str, str, charts.AxisUnit, Callable[[Moment], int]]] = [
        ("peers", "Peers", charts.COUNT, lambda moment: moment.peers),
        ("shares", "Shares", charts.COUNT, lambda moment: moment.shares),
        ("bytes", "Shared", charts.SIZE, lambda moment: moment.bytes),
        ("cores", "Cores offered", charts.COUNT, lambda moment: moment.cores),
    ]
    return [
        {
            "key": key,
            "name": name,
            "now": unit.write(figure(statistics.now)),
            "drawing": charts.chart(
                [(moment.time, figure(moment)) for moment in moments],
                key=key,
                name=name,
                unit=unit,
                start=end - span_s,
                end=end,
            ),
        }
        for key, name, unit, figure in figures
    ]


def _address(path: str, parameters: dict[str, str]) -> str:
    given = {name: value for name, value in parameters.items() if value}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def _asker(request: Request) -> str:
    return canonical(request.client.host) if request.client else ""


def _id(value: str, of: str) -> bytes:
    try:
        return ids.from_text(value)
    except ValueError as error:
        raise NotFound(f"This is not the id of a {of}: {error}. Copy it again from where you found it.") from None


def _short(value: str | None) -> str:
    return (value or "").strip()[:MAX_SIZE_CHARS]


def _kind(value: str) -> Kind | None:
    try:
        return Kind(value) if value else None
    except ValueError:
        raise ConfigError(f"There is no such kind of share. The kinds are {', '.join(Kind)}.") from None


def _size(value: str) -> int | None:
    return min(parse_size(value), MAX_SIZE) if value else None


def _cores(value: str) -> int:
    if not value.strip():
        return 0
    if not (value.isascii() and value.isdigit()) or len(value) > 6:
        raise ConfigError("The number of cores must be a whole number, such as 4.")
    return min(int(value), MAX_CORES)
