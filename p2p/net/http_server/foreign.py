"""Requests that a web page of somebody else caused, told by their words alone.

Such a page can make the user's browser send requests to this machine, and by a name that it has pointed here even read
the answers (DNS rebinding). So only names of this machine may be in Host: 421 for others. And what a page of another
site caused says so in Sec-Fetch-Site, or in Origin: 403.
"""

import re
from typing import NamedTuple

LOOPBACK = frozenset({"127.0.0.1", "[::1]", "localhost"})
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?", re.IGNORECASE)
_OWN_SITE = frozenset({"same-origin", "none"})


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


def refusal(asked: Asked, names: frozenset[str], unknown: str) -> Refusal | None:
    """Why a request is refused, or None if no other page caused it. `names` are those of this machine besides the
    loopback's; `unknown` is what is said to who asks by another.
    """
    if host_of(asked.host or "") not in LOOPBACK | names:
        return Refusal(421, unknown)
    if asked.site is not None and asked.site not in _OWN_SITE:
        return Refusal(403, "Another site asked for this. Type the address, or paste it, instead.")
    if asked.origin is not None and not _is_own(asked):
        return Refusal(403, "A page of another site asked for this.")
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
