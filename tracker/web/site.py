"""What all pages of the tracker share: templates that escape, static files, error pages."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from p2p.ids import COMPARED_CHARS
from p2p.site import templates
from p2p.site.assets import SECURITY_HEADERS, STATIC, Assets
from p2p.wire.tracker import Kind
from tracker.web import text

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


_ASSETS = Assets([STATIC, _HERE / "static"])


def _environment() -> Environment:
    environment = templates.environment(_HERE / "templates")
    environment.filters |= {"shown_link": text.shown_link, "short": lambda value: value[:COMPARED_CHARS]}
    environment.globals |= {
        "asset": _ASSETS.url,
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
    found = _ASSETS.answer(request.path_params["name"], request.query_params.get("v"), request.headers)
    if found is None:
        return error_page(request, 404, "There is no such file.")
    return Response(found.body, found.status, found.headers)
