"""The control socket of a running peer: one socket, two protocols.

Commands send requests as JSON lines (`protocol`). Everything else is HTTP, which is spoken elsewhere.
"""

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from p2p import causes
from p2p.concurrency.accepting import accept
from p2p.concurrency.activity import Activity
from p2p.control import protocol
from p2p.control.path import is_own_user, socket_path
from p2p.control.protocol import Answer, AnyRequest, Emit, Event, Failure
from p2p.errors import NotFound, Refused, ShoalError, StorageError

logger = logging.getLogger(__name__)

MAX_CLIENTS = 1536
MIN_CLIENTS = 64
"""How many there may be even where this process may have few descriptors."""
SPARE = 16
BACKLOG = 1024
FIRST_WORD_TIMEOUT_S = 10.0
"""How long a connection may say nothing at all, and how long a command may take to say its line."""
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 39\r\n\r\nToo many connections. Try again later.\n"
)
_ELSEWHERE = "Choose a --home with a shorter path on a local disk, or set XDG_RUNTIME_DIR to a folder of your own."

Perform = Callable[[AnyRequest, Emit], Awaitable[Any]]
"""Carries out a request and returns the answer. Raises ShoalError."""
Speak = Callable[[trio.SocketStream], Awaitable[None]]
"""Speaks another protocol on a connection, to its end."""


class Server:
    """Serves the control socket of the peer in `home`: `perform` carries out requests, `speak_http` all else.

    The first byte of a connection decides: no HTTP request begins with a brace. A quarter of the connections are for
    commands, and the last SPARE ones are never taken by any that has spoken: so a command is heard however many
    connections ask for ranges of files, and these however many commands run. Programs that hold the peer, perhaps for
    days, take at most three quarters of the places for commands.
    """

    def __init__(self, home: Path, perform: Perform, speak_http: Speak, activity: Activity) -> None:
        self._home = home
        self._perform = perform
        self._speak_http = speak_http
        self._activity = activity
        self._most_commands = self._most_http = 0
        self._commands = self._http = self._holds = 0
        self._silent: dict[trio.CancelScope, None] = {}
        """The connections that have not said anything yet, the oldest first."""

    async def run(
        self, most: int = MAX_CLIENTS, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serves the socket until cancelled. The caller holds the home's lock, so an existing socket file is left over.

        `most` is how many connections there may be. Raises StorageError if the socket cannot be made.
        """
        most = max(most, MIN_CLIENTS)
        self._most_commands = most // 4
        self._most_http = most - self._most_commands - SPARE
        path = socket_path(self._home)
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if path.parent.stat().st_uid != os.getuid():
                    raise PermissionError(errno.EPERM, "its folder belongs to somebody else")
                path.unlink(missing_ok=True)
                await listener.bind(str(path))
                path.chmod(0o600)
            except OSError as error:
                raise StorageError(
                    f"Cannot make the control socket {path}: "
                    f"{causes.explained(error, _ELSEWHERE, forbidden=_ELSEWHERE)}"
                ) from error
            listener.listen(BACKLOG)
            try:
                async with trio.open_nursery() as nursery:
                    task_status.started()
                    await accept(listener, nursery, self._welcome)
            finally:
                path.unlink(missing_ok=True)

    async def _welcome(self, accepted: trio.socket.SocketType) -> None:
        stream = trio.SocketStream(accepted)
        async with stream:
            if not is_own_user(stream.socket):
                logger.warning("somebody else tried the control socket")
                return
            match await self._first_byte(stream):
                case b"":
                    return
                case b"{":
                    await self._command(stream)
                case _:
                    await self._answer_http(stream)

    async def _first_byte(self, stream: trio.SocketStream) -> bytes:
        """Waits for it, and leaves it unread. Returns b"" if none comes, or if a newcomer needs the place."""
        with trio.move_on_after(FIRST_WORD_TIMEOUT_S) as patience:
            self._silent[patience] = None
            spoken = self._commands + self._http
            if len(self._silent) + spoken > self._most_commands + self._most_http + SPARE:
                oldest = next(iter(self._silent))
                del self._silent[oldest]
                oldest.cancel()
            try:
                return await stream.socket.recv(1, socket.MSG_PEEK)
            except OSError:
                pass
            finally:
                self._silent.pop(patience, None)
        return b""

    async def _command(self, stream: trio.SocketStream) -> None:
        self._commands += 1
        try:
            with self._activity.under_way():
                await self._serve(stream, refused=self._commands > self._most_commands)
        finally:
            self._commands -= 1

    async def _answer_http(self, stream: trio.SocketStream) -> None:
        if self._http >= self._most_http:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(TOO_MANY)
            return
        self._http += 1
        try:
            await self._speak_http(stream)
        finally:
            self._http -= 1

    async def _serve(self, stream: trio.SocketStream, *, refused: bool) -> None:
        """Serves one request until it is done or the other side hangs up."""
        sending = trio.Lock()
        scope = trio.CancelScope()

        async def emit(event: Event) -> None:
            async with sending:
                try:
                    await stream.send_all(protocol.encode(event))
                except trio.BrokenResourceError:
                    # Before `watch` saw it. That nobody listens ends the request, and is no error of what it does.
                    scope.cancel()
                    await trio.lowlevel.checkpoint()

        async def watch() -> None:
            while await stream.receive_some():
                pass
            scope.cancel()

        try:
            full = self._commands + self._http > self._most_commands + self._most_http
            line = b"" if refused and full else await _line(stream)
            if refused:
                await emit(Failure("Refused", f"This peer is busy with {self._most_commands} commands. Try again."))
                return
            with scope:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(watch)
                        last = await self._outcome(line, emit)
                        nursery.cancel_scope.cancel()
                    await emit(last)
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
        except (trio.BrokenResourceError, ShoalError) as error:
            logger.debug("a command went away: %s", error)

    async def _outcome(self, line: bytes, emit: Emit) -> Event:
        try:
            request = protocol.decode_request(line)
            if isinstance(request, protocol.HoldRequest):
                return Answer(await self._hold(request, emit))
            return Answer(await self._perform(request, emit))
        except ShoalError as error:
            return Failure(type(error).__name__, str(error))

    async def _hold(self, request: protocol.HoldRequest, emit: Emit) -> Any:
        if self._holds >= self._most_commands * 3 // 4:
            raise Refused(f"{self._holds} programs use this peer. End some, or call `close` of what they do not need.")
        self._holds += 1
        try:
            return await self._perform(request, emit)
        finally:
            self._holds -= 1


async def _line(stream: trio.SocketStream) -> bytes:
    buffer = bytearray()
    with trio.move_on_after(FIRST_WORD_TIMEOUT_S):
        while b"\n" not in buffer:
            data = await stream.receive_some()
            if not data:
                raise NotFound("the command hung up")
            buffer += data
            if len(buffer) > protocol.MAX_LINE_BYTES:
                raise NotFound("the command said too much")
        return bytes(buffer[: buffer.index(b"\n")])
    raise NotFound("the command did not end its line")
