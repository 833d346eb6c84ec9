"""What speaks HTTP for a peer, over the control socket and over TCP. To import this loads all of it."""

from collections.abc import Sequence
from functools import partial

import trio
from starlette.types import Scope

from p2p.gateway.application import Gateway
from p2p.gateway.memory import Memory
from p2p.gateway.shelf import Shelf
from p2p.net.http_server.connections import Connections
from p2p.net.http_server.guard import Guard
from p2p.net.http_server.metrics import Measured, Metrics
from p2p.net.http_server.serving import serve
from p2p.net.http_server.speaking import Speaker
from p2p.net.http_server.stream import Stream
from p2p.net.http_server.turns import Turns
from p2p.net.users import is_of_another
from p2p.web.application import Application, refuse, route
from p2p.web.deps import MAX_CONNECTIONS, Deps
from p2p.web.entry import Entry
from p2p.web.events import Feed
from p2p.web.figures import PREFIX
from p2p.web.selection import Selection

OWN_MACHINE = "127.0.0.1"
"""Where all requests over the control socket come from, as far as turns are concerned."""
FOREIGN = (
    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"This peer is another user's. Ask one of yours.\n"
)
FOREIGN_TIMEOUT_S = 0.05
"""How long another user's connection holds a place, before it is told."""


class Speaking:
    """Serves connections. Requests are begun one at a time, so that commands are heard however many come at once."""

    def __init__(self, deps: Deps, shelf: Shelf) -> None:
        self._deps = deps
        self._shelf = shelf
        self._metrics = Metrics(PREFIX)
        self._turns = Turns()
        self._feed = Feed(deps.perform, deps.changes, deps.swarms, deps.traffic)
        self._memory = Memory()
        application = self._application()
        self._speaker = Speaker(Measured(Guard(application, _admit, refuse), self._metrics, route))

    def _application(self, selection: Selection | None = None) -> Application:
        deps = self._deps
        newest = deps.discovery.mutable_links.newest
        gateway = Gateway(self._shelf, newest, deps.activity, self._memory, selection)
        return Application(gateway, deps.perform, self._feed, deps.activity, self._metrics)

    async def run(self) -> None:
        """Gives requests their turns, and looks for changes while somebody listens, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._turns.run)
            nursery.start_soon(self._feed.run)

    async def speak(self, connection: trio.SocketStream) -> None:
        """Serves one connection of the control socket to its end."""
        await self._speaker.speak(Stream(connection, partial(self._turns.wait, OWN_MACHINE)))

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serves what connects over TCP, until cancelled."""
        deps, access = self._deps, self._deps.access
        assert access is not None
        entry = Entry(self._application(Selection(deps, access)), access, deps.peer_id, deps.shares)
        application = Measured(Guard(entry, _admit, refuse), self._metrics, route)
        never, ended = trio.Event(), trio.Event()
        # With names of its own, nothing is shown without a secret, and a proxy is a user of its own.
        welcome = None if access.hosts else _is_own
        connections = Connections(MAX_CONNECTIONS)
        await serve(listeners, application, connections, self._turns, never, ended, welcome=welcome)


async def _admit(_: Scope) -> None:
    """Whoever can open the socket may ask; over TCP, `Entry` decides."""


async def _is_own(stream: Stream) -> bool:
    """Whether a connection is not another user's of this machine. Raises BrokenResourceError, ClosedResourceError."""
    client, server = (end[:2] for end in stream.ends())
    if not await trio.to_thread.run_sync(is_of_another, client, server):
        return True
    with trio.move_on_after(FOREIGN_TIMEOUT_S):
        await stream.receive_some()  # what was not read would have the kernel take back the answer
    await stream.send_all(FOREIGN)
    return False
