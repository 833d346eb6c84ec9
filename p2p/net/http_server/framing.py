"""Where a request ends, and what an answer looks like on its connection (RFC 9112). It decides, and does no IO.

Requests are read by h11. Refused besides are those of which one server takes another end for the true one: a proxy in
front of this one would take what follows for somebody else's request.
"""

import re
import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

import h11

Headers = Sequence[tuple[bytes, bytes]]

HEAD_BYTES = 16 * 1024
"""The most bytes of a request's head that are held while its end has not come."""
BODYLESS = frozenset({204, 304})
_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_OPTION = re.compile(rb"[^,\s]+")
_LAST_CHUNK = b"0\r\n\r\n"


class Asked(NamedTuple):
    """What of a request decides how its answer is framed."""

    is_head: bool = False
    has_body: bool = False
    takes_chunks: bool = False
    """Whether the client knows bodies that come in chunks, as all do since HTTP/1.1."""
    says_so_if_kept: bool = False
    """Whether the client, of HTTP/1.0, has to be told that the connection stays open."""
    is_last: bool = True
    """Whether the client wants the connection to be closed after the answer."""


def date() -> bytes:
    """The time now, as the heads of answers give it."""
    return _date(int(time.time()))


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


def reader() -> h11.Connection:
    """Makes what reads one request."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)


def asked_by(request: h11.Request) -> Asked:
    """How the answer to a request is framed. Raises RemoteProtocolError if its end is not the same for everybody."""
    options: set[bytes] = set()
    lengths: set[bytes] = set()
    for name, value in request.headers:
        if name == b"connection":
            options.update(_OPTION.findall(value.lower()))
        elif name in {b"content-length", b"transfer-encoding"}:
            lengths.add(name)
    if request.http_version not in {b"1.0", b"1.1"}:
        raise h11.RemoteProtocolError("another version of HTTP", 505)
    is_old = request.http_version == b"1.0"
    if len(lengths) > 1 or (is_old and b"transfer-encoding" in lengths):
        raise h11.RemoteProtocolError("a body of two lengths", 400)
    keeps = is_old and b"keep-alive" in options
    is_last = b"close" in options or (is_old and not keeps)
    return Asked(request.method.upper() == b"HEAD", bool(lengths), not is_old, keeps, is_last)


class Answer:
    """One answer: its head, and how its body is delimited. Raises ValueError if a header is no single line."""

    def __init__(self, asked: Asked, status: int, headers: Headers, *, is_last: bool) -> None:
        lines = [b"%b: %b\r\n" % line for line in headers if line[0].lower() != b"transfer-encoding"]
        options = [_OPTION.findall(value.lower()) for name, value in headers if name.lower() == b"connection"]
        length = next((value for name, value in headers if name.lower() == b"content-length"), None)
        self._has_body = not asked.is_head and status not in BODYLESS
        self.left = None if length is None or not self._has_body else int(length)
        """How many bytes of the body are to come; None if that is not known, or if there is none."""
        self._is_chunked = self._has_body and length is None and asked.takes_chunks
        ends_by_closing = self._has_body and length is None and not asked.takes_chunks
        self.is_last = asked.is_last or is_last or ends_by_closing or any(b"close" in one for one in options)
        """Whether the connection is closed after it."""
        lines.append(b"date: %b\r\n" % date())
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        if self.is_last and not any(options):
            lines.append(b"connection: close\r\n")
        elif asked.says_so_if_kept and not self.is_last:
            lines.append(b"connection: keep-alive\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise ValueError("a header of an answer has more than one line")
        self.head = _REASONS.get(status, b"HTTP/1.1 %d \r\n" % status) + head + b"\r\n"

    @property
    def is_stream(self) -> bool:
        """Whether its body has no known length, and may be long in coming."""
        return self._is_chunked or (self._has_body and self.left is None)

    def framed(self, piece: bytes, *, more: bool) -> list[bytes]:
        """What is sent for a piece of the body. Raises ValueError if the body is longer or shorter than it should."""
        if not self._has_body:
            return []
        self.count(len(piece), more=more)
        if not self._is_chunked:
            return [piece]
        framed = [b"%x\r\n" % len(piece), piece, b"\r\n"] if piece else []
        return framed if more else [*framed, _LAST_CHUNK]

    def count(self, size: int, *, more: bool) -> None:
        """Counts bytes of the body, which are sent as they are. Raises ValueError as `framed` does."""
        if self.left is not None:
            self.left -= size
            if self.left < 0 or (self.left and not more):
                raise ValueError("the body of an answer has another length than its head says")
