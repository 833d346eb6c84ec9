"""The lobby: where connections are until their handshake begins. `p2p.net.handshakes` decides which one that is.

A connection in the lobby is a socket and a few numbers: it has no task, no buffer and no TLS, so thousands that come
and go in a second cost little. It leaves when its turn comes, when its time is over, when another takes its place, or
when it says anything but what a handshake begins with. Its first words stay in the socket for TLS.
"""

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self

import trio

from p2p.concurrency.accepting import CONNECTION
from p2p.concurrency.bell import Bell
from p2p.errors import InternalError, MalformedMessage
from p2p.net.handshakes import Handshakes
from p2p.wire import client_hello

_AT_ONCE = 16
"""How many are listened to before other tasks have their turns."""
_CHANGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


class Newcomer:
    """A connection that has not proven whose it is. `scope` is that of its handshake."""

    __slots__ = ("deadline", "host", "scope", "socket")

    def __init__(self, connected: socket.socket, host: str, deadline: float) -> None:
        self.socket = connected
        self.host = host
        self.deadline = deadline
        self.scope = trio.CancelScope(deadline=deadline)


class Lobby:
    """Has room for `most` newcomers, of which each has `timeout_s` until its handshake is done."""

    def __init__(self, most: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._handshakes: Handshakes[Newcomer] = Handshakes(most, trio.current_time())
        self._here: dict[int, Newcomer] = {}
        """Those whose turn has not come, by descriptor; the oldest first."""
        self._changes = select.epoll()
        self._bell = Bell()
        self._sleeps_until = inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes all that are in the lobby."""
        for newcomer in list(self._here.values()):
            self._dismiss(newcomer)
        self._changes.close()

    def __len__(self) -> int:
        return len(self._here)

    def enter(self, connected: socket.socket) -> None:
        """Takes a connection, in the place of another one if there is no room."""
        try:
            connected.setblocking(False)
            host = connected.getpeername()[0]
            self._changes.register(connected, _CHANGES)  # tells of what is there already, too
        except OSError:
            connected.close()
            return
        newcomer = Newcomer(connected, host, trio.current_time() + self._timeout_s)
        self._here[connected.fileno()] = newcomer
        displaced = self._handshakes.enter(newcomer, host)
        if displaced is not None:
            self._dismiss(displaced)
        if newcomer.deadline < self._sleeps_until:
            self._bell.ring()

    def leave(self, newcomer: Newcomer) -> None:
        """Gives up the place of a connection whose handshake is over."""
        self._handshakes.leave(newcomer)

    async def give_turns(self, begin: Callable[[Newcomer], None]) -> None:
        """Ends connections whose time is over, until cancelled. Calls `begin` with each whose turn it is: whoever that
        calls sees to it that the connection leaves, and that its socket is closed.
        """
        while True:
            count, now = self._bell.count, trio.current_time()
            while self._here and (oldest := next(iter(self._here.values()))).deadline <= now:
                self._dismiss(oldest)
            while (newcomer := self._handshakes.next(now)) is not None:
                self._remove(newcomer)
                begin(newcomer)
            oldest_until = next(iter(self._here.values())).deadline if self._here else inf
            self._sleeps_until = min(self._handshakes.next_at(), oldest_until)
            with trio.move_on_at(self._sleeps_until):
                await self._bell.after(count)

    async def listen(self) -> None:
        """Listens for first words, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._changes.fileno())
            for descriptor, events in self._changes.poll(0, _AT_ONCE):
                if (newcomer := self._here.get(descriptor)) is not None:
                    with suppress(InternalError), CONNECTION.around():
                        self._look(newcomer, is_over=bool(events & ~select.EPOLLIN))
            if self._handshakes.next_at() < self._sleeps_until:
                self._bell.ring()

    def _look(self, newcomer: Newcomer, *, is_over: bool) -> None:
        """Looks whether a connection's first words are there, unless the other side has ended it."""
        try:
            said = b"" if is_over else newcomer.socket.recv(client_hello.MAX_BYTES, socket.MSG_PEEK)
            if said and client_hello.is_whole(said):
                self._handshakes.spoke(newcomer)
        except BlockingIOError:
            return
        except (OSError, MalformedMessage):
            said = b""
        if not said:
            self._dismiss(newcomer)

    def _dismiss(self, newcomer: Newcomer) -> None:
        self._handshakes.leave(newcomer)
        if self._here.get(newcomer.socket.fileno()) is newcomer:
            self._remove(newcomer)
            newcomer.socket.close()
        else:
            newcomer.scope.cancel()

    def _remove(self, newcomer: Newcomer) -> None:
        """Takes a connection out of the lobby."""
        descriptor = newcomer.socket.fileno()
        del self._here[descriptor]
        self._changes.unregister(descriptor)
