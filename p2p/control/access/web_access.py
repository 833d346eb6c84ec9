"""The way into a peer over TCP: where it is, the token of scripts, logins, and the links that its user opened there.

The token is in a file of the home, which only the user may read. All else lasts until the peer stops.
"""

import logging
import os
import secrets
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import trio

from p2p import causes, ids, private
from p2p.control.access.sessions import Session, Sessions, same
from p2p.errors import StorageError
from p2p.ids import ShareId
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint, PointerLink

logger = logging.getLogger(__name__)

TOKEN_FILE = "web.token"
TOKEN_BYTES = 32
MAX_OPEN = 1000
"""How many links can be open; the one opened first makes room."""

Hints = tuple[Sequence[PeerHint], Sequence[str]]
"""Peers that may have something, and trackers that may know of more."""
_Named = tuple[ids.PeerId, str]
_answered: ContextVar[trio.CancelScope | None] = ContextVar("_answered", default=None)
"""The request that is being answered here, if it came over TCP."""


class WebAccess:
    """Access to the peer at `address`, and through a proxy under the names `hosts`. Raises StorageError."""

    def __init__(self, home: Path, address: Address, hosts: Sequence[str]) -> None:
        self.address = address
        self.hosts = frozenset(host.lower() for host in hosts)
        self.url = f"https://{hosts[0]}" if hosts else f"http://{address}"
        self.token_path = home / TOKEN_FILE
        self.sessions = Sessions()
        self._token = self._read() or self._write()
        self._in_use: dict[trio.CancelScope, Session | None] = {}
        """The requests being answered, each with the session that it came with; None: with the token."""
        self._open: OrderedDict[ShareId | _Named, Hints] = OrderedDict()

    def is_token(self, given: str) -> bool:
        """Whether this is the token of scripts."""
        return same(self._token, given)

    @contextmanager
    def using(self, session: Session | None) -> Iterator[None]:
        """Lets a request be answered while the body runs, which ends with its session, or with the token if None."""
        with trio.CancelScope() as scope:
            self._in_use[scope] = session
            outer = _answered.set(scope)
            try:
                yield
            finally:
                _answered.reset(outer)
                del self._in_use[scope]

    def end(self, session: Session) -> None:
        """Ends a session, and what is being answered to it."""
        self.sessions.end(session)
        for scope, used in self._in_use.items():
            if used is session:
                scope.cancel()

    async def renew(self) -> None:
        """Replaces the token, and ends all sessions, and all that is being answered, but for the request that asked for
        this. Raises StorageError.
        """
        self._token = await trio.to_thread.run_sync(self._write)
        self.sessions.end_all()
        for scope in self._in_use:
            if scope is not _answered.get():
                scope.cancel()

    def open(self, link: Link | PointerLink, hints: Sequence[PeerHint]) -> str:
        """Opens what a link leads to. Returns its address."""
        if isinstance(link, PointerLink):
            self._remember((link.publisher, link.name), ([*hints, *link.peers], link.trackers))
            from urllib.parse import quote

            return f"{self.url}/n/{ids.to_text(link.publisher)}/{quote(link.name, safe='')}/"
        self._remember(link.share_id, ([*hints, *link.peers], link.trackers))
        return f"{self.url}/s/{ids.to_text(link.share_id)}/"

    def opened(self, what: ShareId | PointerLink) -> Hints | None:
        """Where something that was opened may be found; None if it was not opened."""
        return self._open.get((what.publisher, what.name) if isinstance(what, PointerLink) else what)

    def led(self, share: ShareId, hints: Hints) -> None:
        """A mutable link that was opened led to this share."""
        self._remember(share, hints)

    def _remember(self, what: ShareId | _Named, hints: Hints) -> None:
        self._open.pop(what, None)
        self._open[what] = hints
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def _read(self) -> str:
        """The token of an earlier run; empty if there is none, or others might know it."""
        try:
            descriptor = os.open(self.token_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return ""
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
                logger.warning("others could have read %s: it gets a new token", self.token_path)
                return ""
            text = file.read(200).decode("ascii", "replace").strip()
        return text if len(text) >= TOKEN_BYTES else ""

    def _write(self) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        made = self.token_path.with_name(f".{TOKEN_FILE}")
        try:
            made.unlink(missing_ok=True)
            private.write(made, f"{token}\n".encode())
            made.replace(self.token_path)
        except OSError as error:
            raise StorageError(f"Cannot write {self.token_path}: {causes.explained(error)}") from error
        return token
