"""One folder of a share as an answer: JSON for programs, a page for browsers. It comes from the manifest alone."""

from collections.abc import Mapping
from pathlib import Path as DiskPath

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from p2p.core.shares.manifest import Manifest
from p2p.gateway import kinds
from p2p.gateway.addresses import Path, relative
from p2p.sharing.reading import folder
from p2p.site import templates

LISTING_BYTES = 2 * 1024 * 1024
"""About how much memory a listing takes while it is made and sent."""
HEADERS = kinds.HEADERS | {
    "content-security-policy": (
        "sandbox allow-downloads allow-top-navigation-by-user-activation; default-src 'none'; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "vary": "accept",
}
"""The headers of every page of Shoal's own."""

_TEMPLATES = templates.environment(DiskPath(__file__).parent / "templates")


def wants_page(request: Request) -> bool:
    """Whether the answer should be a page, since a browser asks."""
    return "text/html" in request.headers.get("accept", "")


def page(template: str, context: Mapping[str, object], status: int = 200) -> Response:
    """Renders a page."""
    body = _TEMPLATES.get_template(template).render(context)
    return Response(body.encode(errors="replace"), status, HEADERS, "text/html; charset=utf-8")


async def answer(request: Request, manifest: Manifest, path: Path) -> Response:
    """Makes the answer to a request for a folder, which the share has."""
    after = request.query_params.get("after", "")
    as_page = wants_page(request)

    def make() -> Response:
        listing = folder.listing(manifest, path, after)
        if not as_page:
            return Response(msgspec.json.encode(listing), headers=HEADERS, media_type="application/json")
        rows = [(row, relative(row.name, is_folder=row.kind == "folder")) for row in listing.rows]
        has_times = any(row.modified is not None for row in listing.rows)
        return page("listing.html", {"listing": listing, "rows": rows, "path": path, "has_times": has_times})

    return await trio.to_thread.run_sync(make)
