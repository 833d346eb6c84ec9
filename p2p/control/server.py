"""The control socket of a running peer, over which commands send requests and get answers."""

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from p2p import causes
from p2p.concurrency.accepting import accept
from p2p.control import protocol
from p2p.control.path import is_own_user, socket_path
from p2p.control.protocol import Answer, AnyRequest, Emit, Event, Failure
from p2p.errors import NotFound, ShoalError, StorageError

logger = logging.getLogger(__name__)

MAX_CLIENTS = 32
_ELSEWHERE = "Choose a --home with a shorter path on a local disk, or set XDG_RUNTIME_DIR to a folder of your own."

Perform = Callable[[AnyRequest, Emit], Awaitable[Any]]
"""Carries out a request and returns the answer. Raises ShoalError."""


class Server:
    """Serves the control socket of the peer in `home`; `perform` carries out the requests."""

    def __init__(self, home: Path, perform: Perform) -> None:
        self._home = home
        self._perform = perform
        self._commands = 0
        self._idle = trio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether a command is running."""
        return bool(self._commands)

    async def idle(self) -> None:
        """Waits until no command is running."""
        while self._commands:
            await self._idle.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves the socket until cancelled. The caller holds the home's lock, so an existing socket file is left over.

        Raises StorageError if the socket cannot be made.
        """
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
            listener.listen(MAX_CLIENTS)
            try:
                async with trio.open_nursery() as nursery:
                    task_status.started()
                    await accept(listener, nursery, self._serve_counted)
            finally:
                path.unlink(missing_ok=True)

    async def _serve_counted(self, accepted: trio.socket.SocketType) -> None:
        self._commands += 1
        try:
            await self._serve(trio.SocketStream(accepted))
        finally:
            self._commands -= 1
            if not self._commands:
                self._idle.set()
                self._idle = trio.Event()

    async def _serve(self, stream: trio.SocketStream) -> None:
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

        async with stream:
            if not is_own_user(stream.socket):
                logger.warning("somebody else tried the control socket")
                return
            try:
                line = await _line(stream)
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
            return Answer(await self._perform(protocol.decode_request(line), emit))
        except ShoalError as error:
            return Failure(type(error).__name__, str(error))


async def _line(stream: trio.SocketStream) -> bytes:
    buffer = bytearray()
    while b"\n" not in buffer:
        data = await stream.receive_some()
        if not data:
            raise NotFound("the command hung up")
        buffer += data
        if len(buffer) > protocol.MAX_LINE_BYTES:
            raise NotFound("the command said too much")
    return bytes(buffer[: buffer.index(b"\n")])
