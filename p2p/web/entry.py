"""The application behind the TCP door: who may ask, logging in and out, and a page that says so. All else is inside."""

import os
import platform
import pwd
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from p2p import __version__, ids
from p2p.control.access.sessions import CODE_S, IDLE_S, Session, same
from p2p.control.access.web_access import WebAccess
from p2p.control.shares import SharesView
from p2p.errors import MalformedMessage, ShoalError
from p2p.gateway.addresses import Place, address
from p2p.gateway.application import told
from p2p.ids import PeerId, ShareId
from p2p.net.http_server.bodies import Bodies
from p2p.net.http_server.foreign import Asked, Refusal, host_of, port_of
from p2p.site import templates
from p2p.site.assets import SECURITY_HEADERS, STATIC, Assets
from p2p.web import permission
from p2p.web.api import API, failed
from p2p.web.permission import FORM_TOKEN, Secret, refusal

ASSETS = "/static/"
FORM_BYTES, MAX_FIELDS = 4096, 16
MAX_SHOWN = 200
"""Shares in the page."""
_BEARER = "bearer "
_HEADERS = SECURITY_HEADERS | {"cache-control": "no-store", "referrer-policy": "same-origin"}
"""With no referrer at all, browsers leave out the Origin of forms too."""


class Entry:
    """The ASGI application."""

    def __init__(self, inside: ASGIApp, access: WebAccess, peer_id: PeerId, shares: SharesView) -> None:
        self._inside = inside
        self._access = access
        self._peer_id = peer_id
        self._shares = shares
        self._bodies = Bodies(FORM_BYTES)
        self._assets = Assets([STATIC])
        self._templates = templates.environment(Path(__file__).parent / "templates")
        self._templates.globals["asset"] = self._assets.url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        session = self._session(request)
        try:
            has_form = (request.method, scope["path"]) == ("POST", permission.LOGOUT)
            form = await self._form(request) if has_form else {}
        except ShoalError as error:
            return await told(request, error)(scope, receive, send)
        secret = self._secret(request, session, form)
        refused = refusal(_asked(request), secret, self._access.hosts)
        response = await self._own(request, session) if refused is None else _refused(request, refused)
        if response is not None:
            await response(scope, receive, send)
        elif secret in (Secret.NONE, Secret.WRONG):
            await self._inside(scope, receive, send)
        else:
            with self._access.using(None if secret is Secret.TOKEN else session):
                await self._inside(scope, receive, send)
        return None

    async def _own(self, request: Request, session: Session | None) -> Response | None:
        """Makes the answer to a request that is allowed; None if it is that of the application inside."""
        path = request.scope["path"]
        match request.method, path:
            case "GET", permission.LOGIN:
                return self._login(request)
            case "POST", permission.LOGOUT:
                if session is not None:
                    self._access.end(session)
                return told(request, "You have logged out.", 200)
            case "GET", permission.HOME:
                return await self._home(session)
            case "GET", _ if path.startswith(ASSETS):
                return self._static(request, path.removeprefix(ASSETS))
        return None

    def _session(self, request: Request) -> Session | None:
        token = request.cookies.get(_cookie(request))
        return None if token is None else self._access.sessions.find(token, trio.current_time())

    def _secret(self, request: Request, session: Session | None, form: Mapping[str, str]) -> Secret:
        shown = request.headers.get("authorization")
        if shown is not None:
            is_token = shown[: len(_BEARER)].lower() == _BEARER and self._access.is_token(shown[len(_BEARER) :].strip())
            return Secret.TOKEN if is_token else Secret.WRONG
        if session is None:
            return Secret.NONE
        given = request.headers.get(FORM_TOKEN) or form.get(FORM_TOKEN, "")
        return Secret.SESSION_AND_FORM if same(session.form, given) else Secret.SESSION

    async def _form(self, request: Request) -> dict[str, str]:
        async with self._bodies.reading(request) as body:
            try:
                fields = parse_qs(body.decode("ascii", "replace"), max_num_fields=MAX_FIELDS)
            except ValueError:
                raise MalformedMessage(f"A form has {MAX_FIELDS} fields at most.") from None
        return {name: values[-1] for name, values in fields.items()}

    def _login(self, request: Request) -> Response:
        """Exchanges a code for a session, by a redirect: what stays in the browser's history is worth nothing."""
        session = self._access.sessions.begin(request.query_params.get("code", ""), trio.current_time())
        if session is None:
            text = f"This code was used, or is older than {CODE_S:.0f} seconds. `shoal web --code` makes another."
            return told(request, text, 403)
        response = Response(None, 303, _HEADERS | {"location": permission.HOME})
        response.set_cookie(
            _cookie(request),
            session.token,
            max_age=int(IDLE_S),
            httponly=True,
            samesite="strict",
            secure=host_of(request.headers.get("host", "")) in self._access.hosts,
        )
        return response

    async def _home(self, session: Session | None) -> Response:
        rows = await self._shares.rows()
        first = [(address(Place(ShareId(row.id), (), True)), row.name, row.size, row.files) for row in rows[:MAX_SHOWN]]
        context = {
            "shares": first,
            "count": len(rows),
            "peer": ids.to_text(self._peer_id),
            "user": _user(),
            "machine": platform.node(),
            "home": str(self._access.token_path.parent),
            "token_path": str(self._access.token_path),
            "form_token": "" if session is None else session.form,
            "form_field": FORM_TOKEN,
            "api": API,
            "version": __version__,
        }
        page = self._templates.get_template("home.html").render(context)
        return Response(page.encode(errors="replace"), 200, _HEADERS, "text/html; charset=utf-8")

    def _static(self, request: Request, name: str) -> Response:
        found = self._assets.answer(name, request.query_params.get("v"), request.headers)
        if found is None:
            return told(request, "There is no such file.", 404)
        return Response(found.body, found.status, found.headers)


def _user() -> str:
    """The name of the user whose peer this is."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _cookie(request: Request) -> str:
    """The name of the session's cookie. Browsers do not tell ports apart, so that of the address is in the name."""
    return f"shoal-session-{port_of(request.headers.get('host', ''))}"


def _asked(request: Request) -> Asked:
    headers = request.headers
    return Asked(
        request.method,
        request.scope["path"],
        headers.get("host"),
        headers.get("origin"),
        headers.get("sec-fetch-site"),
    )


def _refused(request: Request, refused: Refusal) -> Response:
    if request.scope["path"].startswith(API):
        response = failed(ShoalError(refused.text), refused.status)
    else:
        response = told(request, refused.text, refused.status)
    if refused.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response
