"""Which address leads where, and what is said when something is wrong.

    GET, HEAD /s/<share id>/<path>        a file, or the list of a folder
    GET /s/<share id>/<path>/?count=N     the next small files of a folder
    GET, HEAD /n/<peer id>/<name>/<path>  redirects to the newest version that the peer published under the name

`?peer=HOST:PORT`, as often as needed, names peers that may have the share, as `--peer` does, and `?tracker=URL`
trackers that may know more, as links do. `Prefer: wait=SECONDS` says how long the answer may wait for the next bytes
from others.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from p2p.concurrency.activity import Activity
from p2p.core.shares import folders
from p2p.discovery.finders import MAX_LINK_TRACKERS
from p2p.errors import ConfigError, MalformedMessage, NotFound, Refused, ShoalError
from p2p.formats import quoted
from p2p.gateway import addresses, listings
from p2p.gateway.addresses import NamedPlace, Place
from p2p.gateway.files import Files
from p2p.gateway.going import until_gone
from p2p.gateway.memory import Memory
from p2p.gateway.shelf import Shelf
from p2p.gateway.together import Together
from p2p.ids import ShareId
from p2p.net.http import check_url
from p2p.progress import Progress
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.reading.patience import Nobody, patiently
from p2p.wire.link import Link, PeerHint, PointerLink, parse_peer

WAIT_S, MAX_WAIT_S = 30.0, 600.0
MAX_HINTS = 32
NOT_SHOWN = "This peer does not show that here. `shoal open LINK` has it shown until the peer stops."
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?![\d.])", re.ASCII | re.IGNORECASE)
_METHODS = ("GET", "HEAD")

Resolve = Callable[[PointerLink, Sequence[PeerHint], float | None, Progress], Awaitable[tuple[Link, list[PeerHint]]]]
"""Finds the share to which a mutable link points now, and addresses of its publisher.

Raises NotFound if nobody knows one within these seconds.
"""

Hints = tuple[Sequence[PeerHint], Sequence[str]]
"""Peers that may have something, and trackers that may know of more."""


class Selection(Protocol):
    """Which shares and mutable links are shown, and where those may be found."""

    async def hints(self, share: ShareId) -> Hints | None:
        """None if the share is not shown."""

    def names(self, link: PointerLink) -> Hints | None:
        """None if the name is not shown."""

    def led(self, link: PointerLink, share: ShareId, hints: Hints) -> None:
        """A name that is shown led to this share."""


class Gateway:
    """The ASGI application. It serves any share, or those that are shown: then it takes no hints from clients."""

    def __init__(
        self, shelf: Shelf, resolve: Resolve, activity: Activity, memory: Memory, selection: Selection | None = None
    ) -> None:
        self._shelf = shelf
        self._resolve = resolve
        self._activity = activity
        self._selection = selection
        self._memory = memory
        self._files = Files(memory)
        self._together = Together(memory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, unless the client goes away first."""
        with self._activity.under_way():
            async with AsyncExitStack() as used:
                response = await self._respond(Request(scope, receive), used)
                if response is not None:
                    await response(scope, receive, send)

    async def _respond(self, request: Request, used: AsyncExitStack) -> ASGIApp | None:
        """Makes the answer; None if the client has gone away. What it needs while it is sent is in `used`."""
        try:
            if request.method not in _METHODS:
                return told(request, "Only GET and HEAD are possible here.", 405, allow=", ".join(_METHODS))
            raw_path: bytes = request.scope["raw_path"]
            if raw_path.startswith(addresses.SHARES.encode()):
                return await self._share(request, addresses.parse_place(raw_path), used)
            if raw_path.startswith(addresses.NAMES.encode()):
                return await self._newest(request, addresses.parse_named(raw_path), used)
            raise NotFound("There is nothing at this address. Shares are at /s/<share id>/.")
        except ShoalError as error:
            return told(request, error)

    async def _share(self, request: Request, place: Place, used: AsyncExitStack) -> ASGIApp | None:
        hints = _hints(request) if self._selection is None else await self._selection.hints(place.share)
        if hints is None:
            raise NotFound(NOT_SHOWN)
        held = await used.enter_async_context(self._shelf.reading(place.share, *hints))
        find = partial(self._found, request, place, held, used)
        return await find() if held.is_here else await until_gone(request.receive, find)

    async def _found(self, request: Request, place: Place, held: OpenShare, used: AsyncExitStack) -> ASGIApp:
        wait_s = _wait_s(request)
        manifest = (await patiently(held, wait_s, held.layout)).manifest
        if not place.with_slash and (file := folders.file_at(manifest.entries, place.path)) is not None:
            return await self._files.answer(request, held, file, wait_s, used)
        if not folders.is_folder(manifest.entries, place.path):
            raise NotFound(f"The share has no {quoted('/'.join(place.path))}.")
        if "count" in request.query_params and request.method == "GET":
            return await self._together.answer(request, held, manifest, place.path, wait_s, used)
        if not place.with_slash and listings.wants_page(request):  # or the addresses in the page would be wrong
            return _redirect(request, place._replace(with_slash=True), 308)
        lent = await self._memory.borrow(listings.LISTING_BYTES)
        used.callback(lent.give_back)
        listing = await listings.answer(request, manifest, place.path)

        async def send_unless_needed(scope: Scope, receive: Receive, send: Send) -> None:
            with lent.until_needed():  # then the client, which takes nothing, is hung up on
                await listing(scope, receive, send)

        return send_unless_needed

    async def _newest(self, request: Request, named: NamedPlace, used: AsyncExitStack) -> Response | None:
        pointer = PointerLink(named.publisher, named.name)
        hints = _hints(request) if self._selection is None else self._selection.names(pointer)
        if hints is None:
            raise NotFound(NOT_SHOWN)
        peers, trackers = hints
        pointer = msgspec.structs.replace(pointer, trackers=tuple(trackers))
        found = await until_gone(request.receive, partial(self._resolved, pointer, peers, _wait_s(request)))
        if found is None:
            return None
        link, known = found
        if self._selection is not None:
            self._selection.led(pointer, link.share_id, (known, link.trackers))
        # The share stays open for a while, with what is known of where it is.
        await used.enter_async_context(self._shelf.reading(link.share_id, known, link.trackers))
        return _redirect(request, Place(link.share_id, named.path, named.with_slash), 302)

    async def _resolved(
        self, link: PointerLink, hints: Sequence[PeerHint], wait_s: float
    ) -> tuple[Link, list[PeerHint]]:
        try:
            return await self._resolve(link, hints, wait_s, Progress())
        except NotFound as error:
            raise Nobody(str(error)) from error


def _hints(request: Request) -> Hints:
    """The peers and trackers named in the query. Raises MalformedMessage."""
    query = request.query_params
    try:
        peers = [parse_peer(text) for text in query.getlist("peer")[:MAX_HINTS]]
        return peers, [check_url(text) for text in query.getlist("tracker")[:MAX_LINK_TRACKERS]]
    except ConfigError as error:
        raise MalformedMessage(str(error)) from None


def _wait_s(request: Request) -> float:
    found = _WAIT.search(request.headers.get("prefer", ""))
    return WAIT_S if found is None else min(MAX_WAIT_S, max(1.0, float(found[1])))


def _redirect(request: Request, place: Place, status: int) -> Response:
    query = request.scope["query_string"].decode("ascii", "ignore")
    location = addresses.address(place) + (f"?{query}" if query else "")
    return Response(None, status, listings.HEADERS | {"location": location})


def told(request: Request, said: ShoalError | str, status: int = 400, **headers: str) -> Response:
    """Tells what is wrong, as a page or as plain text."""
    match said:
        case Nobody():
            status = 504
        case NotFound():
            status = 404
        case Refused():
            status, headers["retry-after"] = 503, "1"
        case MalformedMessage() | str():
            pass
        case _:
            status = 503
    if listings.wants_page(request):
        response = listings.page("error.html", {"status": status, "said": str(said)}, status)
    else:
        text = f"{said}\n".encode(errors="replace")
        response = Response(text, status, listings.HEADERS, "text/plain; charset=utf-8")
    response.headers.update(headers)
    return response
