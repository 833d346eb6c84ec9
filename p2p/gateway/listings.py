"""One folder of a share as an answer: JSON for programs, a page for browsers. It comes from the manifest alone."""

from collections.abc import Mapping
from pathlib import Path as DiskPath
from typing import Literal

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from p2p import ids
from p2p.core.shares import folders
from p2p.core.shares.manifest import Manifest, TimedEntry
from p2p.gateway import kinds
from p2p.gateway.addresses import Path, relative
from p2p.site import templates

MAX_LISTED = 5000
"""The most entries of one answer."""
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


class Row(msgspec.Struct, frozen=True):
    """What is directly in a folder. `size` is in bytes, `modified` in seconds since 1970; a folder has neither."""

    name: str
    kind: Literal["file", "folder"]
    size: int | None = None
    modified: float | None = None
    id: str | None = None
    """The file's id, which is its entity tag."""


class Listing(msgspec.Struct, frozen=True):
    """A folder of a share. If it has more than the rows, they go on `after` the last name: ask for that."""

    share: str
    name: str
    """The name of the share."""
    path: str
    rows: tuple[Row, ...]
    after: str | None = None


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
        listing = _listing(manifest, path, after)
        if not as_page:
            return Response(msgspec.json.encode(listing), headers=HEADERS, media_type="application/json")
        rows = [(row, relative(row.name, is_folder=row.kind == "folder")) for row in listing.rows]
        return page("listing.html", {"listing": listing, "rows": rows, "path": path})

    return await trio.to_thread.run_sync(make)


def _listing(manifest: Manifest, path: Path, after: str) -> Listing:
    rows: list[Row] = []
    more = False
    for child in folders.children(manifest.entries, path, after):
        more = len(rows) == MAX_LISTED
        if more:
            break
        file = child.file
        if file is None:
            rows.append(Row(child.name, "folder"))
        else:
            modified = file.modified_ns / 1e9 if isinstance(file, TimedEntry) else None
            rows.append(Row(child.name, "file", file.size, modified, ids.to_text(file.file_id)))
    return Listing(
        ids.to_text(manifest.share_id),
        manifest.root.name,
        "/".join(path),
        tuple(rows),
        rows[-1].name if more else None,
    )
