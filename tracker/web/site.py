"""What all pages share: templates that escape, static files named by their content's hash, headers, error pages."""

import hashlib
import mimetypes
import re
import time
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from p2p.ids import COMPARED_CHARS
from p2p.site import templates
from p2p.wire.tracker import Kind
from tracker.web import text

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_HERE = Path(__file__).parent
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ERRORS = {
    400: "That request is not valid",
    404: "Not found",
    405: "Not possible here",
    413: "Too large",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Too busy",
}


class Asset:
    """A static file in memory."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self.tag = hashlib.sha256(self.content).hexdigest()[:16]
        self.media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.url = f"/static/{path.name}?v={self.tag}"


_ASSETS = {path.name: Asset(path) for path in sorted((_HERE / "static").iterdir()) if path.is_file()}


def _environment() -> Environment:
    environment = templates.environment(_HERE / "templates")
    environment.filters |= {"shown_link": text.shown_link, "short": lambda value: value[:COMPARED_CHARS]}
    environment.globals |= {
        "asset": lambda name: _ASSETS[name].url,
        "command": text.command,
        "kinds": [kind.value for kind in Kind],
    }
    return environment


_TEMPLATES = _environment()


def page(request: Request, template: str, context: Mapping[str, object], status: int = 200) -> Response:
    """Renders a page of this site. It shows the present state, so no cache may store it."""
    shared = {"now": time.time(), "origin": _origin(request), "path": request.scope["path"], "query": ""}
    body = _TEMPLATES.get_template(template).render(shared | dict(context))
    headers = SECURITY_HEADERS | {"cache-control": "no-store", "vary": "accept"}
    return HTMLResponse(body.encode(errors="replace"), status, headers)


def _origin(request: Request) -> str:
    """The URL at which the visitor reached this site, for commands that name it; empty if the Host is invalid."""
    host = request.headers.get("host", "")
    return f"{request.scope['scheme']}://{host}" if _HOST.fullmatch(host) else ""


def error_page(request: Request, status: int, message: str) -> Response:
    """Renders an error as a page of this site: what happened, then what to do."""
    heading = _ERRORS.get(status, "That did not work")
    return page(request, "error.html", {"status": status, "heading": heading, "message": message}, status)


def wants_page(request: Request) -> bool:
    """Whether the answer should be a page, since a browser asks. The API always answers in JSON."""
    is_page = not request.scope["path"].startswith("/api/")
    return is_page and "text/html" in request.headers.get("accept", "")


def static(request: Request) -> Response:
    """Answers with a static file; one that is requested by its hash may be cached for ever."""
    found = _ASSETS.get(request.path_params["name"])
    if found is None:
        return error_page(request, 404, "There is no such file.")
    etag = f'"{found.tag}"'
    kept = request.query_params.get("v") == found.tag
    headers = SECURITY_HEADERS | {
        "etag": etag,
        "cache-control": "public, max-age=31536000, immutable" if kept else "no-cache",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
