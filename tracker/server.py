"""The tracker as a server: connects the parts, listens, stops gracefully. Only this module has a nursery for services.

How connections are accepted and bounded is decided in `p2p.net.http_server`.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from p2p import identity as identities
from p2p.errors import ConfigError
from p2p.net.dialer import Dialer
from p2p.net.http_server.connections import Connections
from p2p.net.http_server.refusals import subject
from p2p.net.http_server.serving import serve
from p2p.net.http_server.turns import Turns
from p2p.net.interfaces import reachable
from p2p.net.listener import bound_address, open_listeners
from p2p.net.tls import Contexts
from p2p.wire.address import Address
from tracker import app
from tracker.database import Database
from tracker.limits import Limits
from tracker.proxies import NO_PROXIES, Proxies
from tracker.service import Service
from tracker.torrents.bittorrent import Torrents

MAX_CONNECTIONS = 4096


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
            await nursery.start(serve, listeners, application, connections, turns, stop, stopped)
            try:
                yield Tracker(ours, service, tuple(bound), connections)
            finally:
                with trio.CancelScope(shield=True):
                    service.stop()
                    stop.set()
                    await stopped.wait()
                nursery.cancel_scope.cancel()
