"""The reverse proxies in front of a tracker, and what they are believed about a request: its client, and its scheme.

Every proxy adds an entry to one header, after those that its client sent, and a client may send whatever it likes. So
only the entry counts that the outermost of the operator's own proxies has added: the last but `hops - 1`. The operator
says which header the proxies write; any other is their client's own word.
"""

import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from p2p.wire.address import canonical, ip

HEADERS = ("x-forwarded-for", "forwarded")
SCHEMES = frozenset({"http", "https"})
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*("?)')
_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")*')
_PAIR = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("[^"\\]*"|[^",;\s]*)\s*(?:;|\Z)""")
"""A name and its value; no address or scheme has a backslash."""


@dataclass(frozen=True)
class Proxies:
    """The proxies that are believed, at these addresses. `hops` is how many stand between a client and the tracker."""

    addresses: frozenset[str] = frozenset()
    header: str = HEADERS[0]
    """One of HEADERS."""
    hops: int = 1

    def believe(self, scope: Scope) -> None:
        """Sets a request's client and scheme to those that the proxies tell, if it came from one of them.

        With fewer entries than proxies, or an entry that is no address, the client stays the proxy itself.
        """
        client = scope.get("client")
        if client is None or canonical(client[0]) not in self.addresses:
            return
        headers = Headers(scope=scope)
        if self.header == "forwarded":
            elements = _elements(headers)
            told = elements[-self.hops] if len(elements) >= self.hops else {}
            address, scheme = told.get("for", ""), told.get("proto", "").lower()
        else:
            entries = _entries(headers, "x-forwarded-for")
            address = entries[-self.hops] if len(entries) >= self.hops else ""
            # Proxies do not add to this one: each sets it, or leaves it as the one before has set it.
            scheme = headers.getlist("x-forwarded-proto")[-1].strip() if "x-forwarded-proto" in headers else ""
        found = ip(_host(address))
        if found is not None:
            scope["client"] = (str(found), 0)
        if scheme in SCHEMES:
            scope["scheme"] = scheme


NO_PROXIES = Proxies()


def _entries(headers: Headers, name: str) -> list[str]:
    """The entries of all lines of a header, in order."""
    return [entry.strip() for line in headers.getlist(name) for entry in line.split(",")]


def _elements(headers: Headers) -> list[dict[str, str]]:
    """The entries of all lines of `Forwarded` (RFC 7239), in order; one that is not well-formed is empty.

    There are none if a quote is open at the end of a line: a client's open quote would swallow what proxies have added,
    and an entry of its own would be in their place.
    """
    lines = headers.getlist("forwarded")
    if any(not quoted[1] for line in lines for quoted in _QUOTED.finditer(line)):
        return []
    return [_pairs(element) for line in lines for element in _ELEMENT.findall(line) if element]


def _pairs(element: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None or pair[1].lower() in found:
            return {}
        found[pair[1].lower()] = pair[2].strip('"')
        at = pair.end()
    return found


def _host(text: str) -> str:
    """The address of an entry, which may have a port: 192.0.2.1:80, [2001:db8::1]:80."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
