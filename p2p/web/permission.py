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

from p2p.net.http_server import foreign
from p2p.net.http_server.foreign import Asked, Refusal

SHARES = re.compile("/[sn]/")
HOME, LOGIN, LOGOUT = "/", "/login", "/logout"
FORM_TOKEN = "shoal-form-token"
"""The header in which a page sends its session's form token."""
_UNKNOWN = "This peer is not known by that name. `shoal node --web-host NAME` gives it one."
_READING = frozenset({"GET", "HEAD"})


class Secret(Enum):
    """What a request has shown."""

    NONE = "nothing"
    WRONG = "a token that is none"
    TOKEN = "the token of scripts"
    SESSION = "the session of a browser"
    SESSION_AND_FORM = "the session of a browser, and its form token"


def refusal(asked: Asked, secret: Secret, names: frozenset[str]) -> Refusal | None:
    """Why a request is refused, or None if it is not. `names` are those of this peer besides the loopback's."""
    if (of_others := foreign.refusal(asked, names, _UNKNOWN)) is not None:
        return of_others
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
