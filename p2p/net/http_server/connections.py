"""The open connections of a server that strangers ask, within bounds in total, per network and per address."""

import socket
from collections import Counter
from collections.abc import Iterable

import trio

from p2p.net.http_server.refusals import subject
from p2p.net.http_server.stream import Stream
from p2p.places import Seats

MAX_PER_ADDRESS = 256
FIRST_WORD_TIMEOUT_S = 10.0
"""How long a connection may say nothing at all."""


class Connections:
    """The open connections, at most `most`: networks share them, and an address has a limit of its own.

    If there are proxies, half of the connections are theirs, to whom neither applies.
    """

    def __init__(self, most: int, proxies: Iterable[str] = ()) -> None:
        self.open: set[Stream] = set()
        self._proxies = frozenset(proxies)
        self._most_of_proxies = most // 2 if self._proxies else 0
        self._of_proxies: set[Stream] = set()
        self._seats: Seats[Stream] = Seats("connections over http", most - self._most_of_proxies)
        self._of_address: Counter[str] = Counter()
        self._silent: set[Stream] = set()
        self._left = trio.Event()

    def is_proxy(self, host: str) -> bool:
        return subject(host) in self._proxies

    def admit(self, stream: Stream, host: str) -> bool:
        """Gives a connection from this host a place, if there is one for it. Closes the one that it displaces."""
        if self.is_proxy(host):
            if len(self._of_proxies) >= self._most_of_proxies:
                return False
            self._of_proxies.add(stream)
        else:
            if self._of_address[subject(host)] >= MAX_PER_ADDRESS:
                return False
            entry = self._seats.enter(stream, host)
            if not entry.admitted:
                return False
            if entry.displaced is not None:
                entry.displaced.abort()
        self.open.add(stream)
        self._of_address[subject(host)] += 1
        return True

    async def speaks(self, stream: Stream) -> bool:
        """Waits for the first bytes of a connection. Returns whether they have come in time."""
        self._silent.add(stream)
        try:
            with trio.move_on_after(FIRST_WORD_TIMEOUT_S):
                return bool(await stream.socket.recv(1, socket.MSG_PEEK))
        except (OSError, trio.ClosedResourceError):
            pass
        finally:
            self._silent.discard(stream)
        return False

    def leave(self, stream: Stream, host: str) -> None:
        self.open.discard(stream)
        self._of_proxies.discard(stream)
        self._seats.leave(stream)
        self._of_address -= Counter([subject(host)])
        if not self.open:
            self._left.set()

    async def ended(self) -> None:
        """Waits until no connection is left, of which those that have said nothing end at once; for use once no more
        are accepted.
        """
        for stream in list(self._silent):
            stream.abort()
        if self.open:
            self._left = trio.Event()
            await self._left.wait()

    def abort(self) -> None:
        """Closes all connections at once."""
        for stream in list(self.open):
            stream.abort()
