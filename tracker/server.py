"""The tracker as a server: listens, connects the parts, stops gracefully. Only this module has a nursery for services.

It accepts connections, and hypercorn's HTTP code serves them, one task per connection, once the first bytes are there;
what comes is read in turns (`turns`).
The number of connections is limited per address, and in total: networks share them (`p2p.places.Seats`), and a
connection that finds no place is closed immediately. A connection is also closed if its client accepts no bytes for a
while.
"""

import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr, wrap_app
from starlette.types import ASGIApp

from p2p import identity as identities
from p2p.concurrency.accepting import CONNECTION, accept_each
from p2p.errors import ConfigError
from p2p.net.dialer import Dialer
from p2p.net.interfaces import reachable
from p2p.net.listener import bound_address, open_listeners
from p2p.net.tls import Contexts
from p2p.places import Seats
from p2p.wire.address import Address, canonical
from tracker import app
from tracker.database import Database
from tracker.http import ABORT
from tracker.limits import Limits, subject
from tracker.proxies import NO_PROXIES, Proxies
from tracker.service import Service
from tracker.torrents.bittorrent import Torrents
from tracker.turns import Turns

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 4096
MAX_PER_ADDRESS = 256
GRACE_TIMEOUT_S = 3.0
"""How long answers under way may still take once the tracker is told to stop."""
STALLED_S = 30.0
IDLE_TIMEOUT_S = 30.0
"""How long a connection may be idle before its first request, and between two requests."""
FIRST_WORD_TIMEOUT_S = 10.0
"""How long a connection may say nothing at all."""


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
        with trio.move_on_after(STALLED_S) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            self.abort()
            raise trio.BrokenResourceError("the other side takes nothing")

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


class Connections:
    """The open connections, at most `most`: networks share them, and an address has a limit of its own.

    If there are proxies, half of the connections are theirs, to whom neither applies.
    """

    def __init__(self, most: int, proxies: Iterable[str] = ()) -> None:
        self.open: set[Stream] = set()
        self._proxies = frozenset(proxies)
        self._most_of_proxies = most // 2 if self._proxies else 0
        self._of_proxies: set[Stream] = set()
        self._seats: Seats[Stream] = Seats("connections of a tracker", most - self._most_of_proxies)
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


@dataclass(frozen=True)
class Tracker:
    """A running tracker: where others reach it, its service, and its connections."""

    url: str
    service: Service
    addresses: tuple[Address, ...]
    connections: Connections


@asynccontextmanager
async def open_tracker(
    path: Path,
    home: Path,
    listen: Sequence[Address],
    *,
    also: Sequence[Address] = (),
    network: str,
    url: str | None = None,
    proxies: Proxies = NO_PROXIES,
    outside: Iterable[str] = (),
    limits: Limits | None = None,
    most_connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[Tracker]:
    """Runs a tracker with this database and the identity in `home`, while the body runs.

    It also listens on `also` if that is possible. `url` is where others reach it, if that is not where it listens.
    `proxies` are those that are believed about a client's address. `outside` are as in
    `Torrents`. Raises ConfigError, IdentityError, StorageError.
    """
    identity = identities.load_or_create(home)
    with Database(path) as database:
        dialer = Dialer(identity, Contexts(identity, home, network), network)
        listeners = await open_listeners(listen)
        with suppress(ConfigError):
            listeners += await open_listeners(also)
        bound = [bound_address(one) for one in listeners]
        ours = url or f"http://{next(iter(reachable(bound)), bound[0])}"
        torrents = Torrents(outside=outside)
        service = Service(
            database,
            dialer,
            url=ours,
            strict=url is not None,
            limits=limits,
            torrents=lambda: torrents.figures(trio.current_time()),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            stop = trio.Event()
            stopped = trio.Event()
            connections = Connections(most_connections, map(subject, proxies.addresses))
            turns = Turns()
            await nursery.start(turns.run)
            application = app.build(service, torrents, proxies, turns)
            await nursery.start(_serve, listeners, application, connections, turns, stop, stopped)
            try:
                yield Tracker(ours, service, tuple(bound), connections)
            finally:
                with trio.CancelScope(shield=True):
                    service.stop()
                    stop.set()
                    await stopped.wait()
                nursery.cancel_scope.cancel()


async def _serve(
    listeners: Sequence[trio.SocketListener],
    application: ASGIApp,
    connections: Connections,
    turns: Turns,
    stop: trio.Event,
    stopped: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accepts connections until told to stop, then gives the answers under way some time to finish."""
    config = _config()
    context = WorkerContext(None)
    wrapped = wrap_app(application, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]
    speak = partial(_speak, wrapped, config, context, connections, turns)
    try:
        async with trio.open_nursery() as speaking:
            try:

                def take(accepted: socket.socket) -> None:
                    speaking.start_soon(CONNECTION.contain, speak, trio.socket.from_stdlib_socket(accepted))

                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(accept_each, listener.socket, take)
                    task_status.started()
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                for listener in listeners:
                    listener.socket.close()
                await context.terminated.set()
                with trio.move_on_after(GRACE_TIMEOUT_S):
                    await connections.ended()
            finally:
                # Hypercorn shields sending: only closing the socket ends it, not a cancellation.
                connections.abort()
            speaking.cancel_scope.cancel()
    finally:
        for listener in listeners:
            listener.socket.close()
        stopped.set()


async def _speak(
    application: Any,
    config: Config,
    context: WorkerContext,
    connections: Connections,
    turns: Turns,
    accepted: trio.socket.SocketType,
) -> None:
    """Serves one connection to its end."""
    try:
        host = canonical(accepted.getpeername()[0])
    except OSError:
        accepted.close()
        return
    # Of a proxy, all its clients would share the turns; `Guard` knows who they are.
    turn = trio.lowlevel.checkpoint if connections.is_proxy(host) else partial(turns.wait, host)
    stream = Stream(trio.SocketStream(accepted), turn)
    if not connections.admit(stream, host):
        stream.abort()
        return
    try:
        if await connections.speaks(stream):
            await turn()
            state = ConnectionState({ABORT: stream.abort})
            await Http1(application, config, context, state, stream).run()  # type: ignore[arg-type]
    finally:
        connections.leave(stream, host)
        stream.abort()


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = IDLE_TIMEOUT_S
    config.keep_alive_max_requests = 10_000
    return config
