"""Who may ask what over TCP: a table of rules about one request's words. No IO, no clock, no secrets of its own.

A web page of somebody else can make the user's browser send requests here, and by a name that it has pointed at this
machine even read the answers (DNS rebinding). So:

1. Only names that are this peer's may be in Host: 421 for others.
2. What a page of another site caused says so in Sec-Fetch-Site, or in Origin: 403.
3. Shares may be read without a secret, unless this peer answers to names of its own: then nothing may.
4. All else needs one of two secrets: a token, which scripts send, or the session of a browser.
5. What changes something, and comes with a session, needs our own Origin and the session's form token too: a browser
   sends the session by itself, whoever made it ask.
"""

import re
from enum import Enum
from typing import NamedTuple

LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})
SHARES = re.compile("/[sn]/")
HOME, LOGIN, LOGOUT = "/", "/login", "/logout"
FORM_TOKEN = "shoal-form-token"
"""The header in which a page sends its session's form token."""
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?", re.IGNORECASE)
_READING = frozenset({"GET", "HEAD"})
_OWN_SITE = frozenset({"same-origin", "none"})


class Secret(Enum):
    """What a request has shown."""

    NONE = "nothing"
    WRONG = "a token that is none"
    TOKEN = "the token of scripts"
    SESSION = "the session of a browser"
    SESSION_AND_FORM = "the session of a browser, and its form token"


class Asked(NamedTuple):
    """The words of a request that count: its method, path, and some headers, None where they are missing."""

    method: str
    path: str
    host: str | None = None
    origin: str | None = None
    site: str | None = None
    """Sec-Fetch-Site."""


class Refusal(NamedTuple):
    """Why a request is refused."""

    status: int
    text: str


def refusal(asked: Asked, secret: Secret, names: frozenset[str]) -> Refusal | None:
    """Why a request is refused, or None if it is not. `names` are those of this peer besides the loopback's."""
    if host_of(asked.host or "") not in LOOPBACK | names:
        return Refusal(421, "This peer is not known by that name. `shoal node --web-host NAME` gives it one.")
    if asked.site is not None and asked.site not in _OWN_SITE:
        return Refusal(403, "Another site asked for this. Type the address, or paste it, instead.")
    if asked.origin is not None and not _is_own(asked):
        return Refusal(403, "A page of another site asked for this.")
    is_reading = asked.method in _READING
    is_open = SHARES.match(asked.path) is not None and not names
    if is_reading and (is_open or asked.path == LOGIN):
        return None
    if secret in (Secret.NONE, Secret.WRONG):
        return Refusal(
            401,
            "Log in first: `shoal web --code` prints an address that lets a browser in, once. Scripts send the token "
            "that `shoal web` names.",
        )
    if is_reading or secret is Secret.TOKEN:
        return None
    if asked.origin is None or secret is not Secret.SESSION_AND_FORM:
        return Refusal(403, "This page is out of date. Load it again.")
    return None


def host_of(header: str) -> str:
    """The name in a Host header, without its port; empty if it is none."""
    found = _HOST.fullmatch(header)
    return found[1].lower() if found else ""


def port_of(header: str) -> int:
    """The port in a Host header."""
    found = _HOST.fullmatch(header)
    return int(found[2]) if found and found[2] else 80


def _is_own(asked: Asked) -> bool:
    """Whether the Origin is that of the pages at this address; a proxy may have spoken TLS for them."""
    host = (asked.host or "").lower()
    return (asked.origin or "").lower() in (f"http://{host}", f"https://{host}")
