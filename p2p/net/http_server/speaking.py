"""HTTP/1.1 on one connection, from its first request to its end: hypercorn's code over one of our streams."""

import logging
from collections.abc import Awaitable, Callable

import trio
from hypercorn.config import Config
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr, wrap_app
from starlette.types import ASGIApp

from p2p.net.http_server.guard import ABORT

logger = logging.getLogger(__name__)

STALLED_S = 30.0
SLICE_BYTES = 64 * 1024
"""How much the other side has to take in STALLED_S."""
IDLE_TIMEOUT_S = 30.0
"""How long a connection may be idle before its first request, and between two requests."""


class Stream:
    """Gives a connection the interface that hypercorn expects; sending fails if the other side accepts no bytes.

    What has come is read when it is the connection's `turn`.
    """

    def __init__(self, stream: trio.SocketStream, turn: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._turn = turn
        self.socket = stream.socket

    async def receive_some(self, most: int) -> bytes:
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self.socket)
        await self._turn()
        return bytes(await self._stream.receive_some(most))

    async def send_all(self, data: bytes) -> None:
        if not data:
            return  # as hypercorn sends at the end of a body of known length
        view = memoryview(data)
        for begin in range(0, len(view), SLICE_BYTES):
            with trio.move_on_after(STALLED_S) as patience:
                await self._stream.send_all(view[begin : begin + SLICE_BYTES])
            if patience.cancelled_caught:
                self.abort()
                raise trio.BrokenResourceError("the other side takes next to nothing")

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def abort(self) -> None:
        """Closes the connection at once."""
        self.socket.close()


class Http1(TCPServer):
    """Serves HTTP/1.1 on one connection. HTTP/2 is left out: nobody needs it here, and it would cost memory."""

    async def run(self) -> None:
        try:
            family = self.stream.socket.family
            client = parse_socket_addr(family, self.stream.socket.getpeername())
            server = parse_socket_addr(family, self.stream.socket.getsockname())
            async with TaskGroup() as tasks:
                self._task_group = tasks
                state = ConnectionState(self.state)
                self.protocol = H11Protocol(  # type: ignore[assignment]
                    self.app, self.config, self.context, tasks, state, False, client, server, self.protocol_send
                )
                await self.idle_task.restart(tasks, self._idle_timeout)
                await self._read_data()
                await self.idle_task.stop()
        except* (OSError, H2CProtocolRequiredError, H2ProtocolAssumedError):
            pass
        finally:
            await self._close()


class Speaker:
    """Speaks HTTP for an application, on one connection or many."""

    def __init__(self, application: ASGIApp) -> None:
        self._config = _config()
        self._context = WorkerContext(None)
        self._application = wrap_app(application, self._config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]

    async def speak(self, stream: Stream) -> None:
        """Serves one connection to its end, and closes it."""
        state = ConnectionState({ABORT: stream.abort})
        try:
            await Http1(self._application, self._config, self._context, state, stream).run()  # type: ignore[arg-type]
        finally:
            # Hypercorn shields sending: only closing the socket ends it, not a cancellation.
            stream.abort()

    async def end(self) -> None:
        """Has each connection end after the answer under way, or at once if there is none."""
        await self._context.terminated.set()


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = IDLE_TIMEOUT_S
    config.keep_alive_max_requests = 10_000
    return config
