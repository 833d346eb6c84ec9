"""Many peers in one process: real nodes on loopback, each in a home of its own, and rogues beside them."""

import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from p2p.config import (
    ClusterConfig,
    Config,
    JobsConfig,
    ManifestLimits,
    NetworkConfig,
    SharingConfig,
    TransferConfig,
    VolunteerConfig,
    WebConfig,
)
from p2p.control.protocol import AnyRequest, Event
from p2p.homes import DATABASE_FILE
from p2p.ids import ShareId
from p2p.net import listener
from p2p.net.dialer import Dialer
from p2p.node import Node, open_node
from p2p.progress import Progress
from p2p.sharing.fetching.fetch import Fetched
from p2p.sharing.fetching.supply import Options
from p2p.sharing.reading.open_share import OpenShare
from p2p.wire.address import Address
from p2p.wire.link import Link, PeerHint, parse_link
from tests.support.leaks import check_private

NETWORK = "test-world"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Published:
    """A share that a peer of the world made, and where its files are."""

    link: Link
    path: Path
    origin: Node

    @property
    def hint(self) -> PeerHint:
        return hint_of(self.origin)


class _Running:
    """A node in a task of its own: when to stop, and whether it has."""

    def __init__(self) -> None:
        self.stop = trio.Event()
        self.stopped = trio.Event()

    async def run(self, home: Path, config: Config, foreground: bool, *, task_status: trio.TaskStatus[Node]) -> None:
        try:
            async with open_node(home, config, foreground=foreground) as node:
                task_status.started(node)
                await self.stop.wait()
        finally:
            self.stopped.set()


class World:
    """Peers by name, in the order in which a test asked for them."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder = folder
        self._nursery = nursery
        self._running: dict[str, _Running] = {}

    async def peer(
        self,
        name: str,
        *,
        listen: str = "127.0.0.1:0",
        dialable: Literal["auto", "no"] = "auto",
        network: dict[str, Any] | None = None,
        volunteer: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        jobs: dict[str, Any] | None = None,
        sharing: dict[str, Any] | None = None,
        web: dict[str, Any] | None = None,
        cluster: dict[str, Any] | None = None,
        stays: bool = False,
        **transfer: Any,
    ) -> Node:
        """Starts a node with these settings of the sections that the arguments are named like.

        If it `stays`, it is a node, and not the peer of one command.
        It finds no other peer unless a test tells it where one is. If not `dialable`, it tells nobody where it listens.
        """
        settings: dict[str, Any] = {
            "name": NETWORK,
            "listen": (listen,),
            "dialable": dialable,
            "lan": False,
            "dht": False,
        }
        config = Config(
            network=NetworkConfig(**settings | (network or {})),
            volunteer=VolunteerConfig(**{"priority": "normal", **(volunteer or {})}),
            transfer=TransferConfig(**transfer),
            limits=ManifestLimits(**limits or {}),
            jobs=JobsConfig(**jobs or {}),
            sharing=SharingConfig(**sharing or {}),
            web=WebConfig(**web or {}),
            cluster=ClusterConfig(**cluster or {}),
        )
        running = self._running[name] = _Running()
        local: Node = await self._nursery.start(
            running.run, self.folder / name, config, not stays and not config.web.listen
        )
        return local

    async def stop(self, name: str) -> None:
        """Ends a node."""
        running = self._running.pop(name)
        check_private(self.folder / name)
        running.stop.set()
        await running.stopped.wait()

    async def close(self) -> None:
        for name in reversed(list(self._running)):
            await self.stop(name)

    async def publish(self, local: Node, files: dict[str, int], name: str = "data", seed: int = 1) -> Published:
        """Makes a folder with files of these sizes, and shares it from the peer."""
        path = self.folder / f"{local.home.name}-{name}"
        noise = random.Random(seed)
        for file, size in files.items():
            target = path / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(noise.randbytes(size))
        return await self.publish_path(local, path)

    async def publish_path(self, local: Node, path: Path) -> Published:
        done = await local.sharing.share([path], "data", Progress(), unlisted=False)
        return Published(parse_link(local.discovery.links.to(done.share_id, done.name, done.bytes)), path, local)

    async def get(
        self,
        local: Node,
        link: Link | ShareId,
        hints: Sequence[PeerHint] = (),
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> Fetched:
        """Fetches to the peer's own output folder. Fails after a while."""
        where = options.pop("folder", self.out(local))
        progress = progress or Progress()
        link = link if isinstance(link, Link) else Link(link)
        with trio.fail_after(PATIENCE_S):
            return await local.open_shares.fetch(link, hints, Options(folder=where, **options), progress)

    def out(self, local: Node) -> Path:
        return self.folder / f"out-{local.home.name}"


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[World]:
    """A world of the test's own, whose peers end with it."""
    made = World(tmp_path, nursery)
    yield made
    await made.close()


async def asked(node: Node, request: AnyRequest, *, keep_serving: bool = True) -> Any:
    """Asks a peer as its user does; returns what the user gets. Without `keep_serving`, shares end with the peer."""

    async def ignore(event: Event) -> None:
        pass

    return await node.operations.perform(request, ignore, keep_serving=keep_serving)


@contextmanager
def unwritable(local: Node) -> Iterator[None]:
    """Makes the home's database unwritable, as if another program held it."""
    with closing(sqlite3.connect(local.home / DATABASE_FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@asynccontextmanager
async def using(local: Node, share: ShareId, hints: Sequence[PeerHint] = ()) -> AsyncIterator[OpenShare]:
    """Opens an input as a job does."""
    held = local.open_shares.open(share, hints)
    try:
        with trio.fail_after(PATIENCE_S):
            yield held
    finally:
        await local.open_shares.release(held)


async def until(holds: Callable[[], object]) -> None:
    """Waits for a condition that no event announces. Fails after a while."""
    with trio.fail_after(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - figures have no event
            await trio.sleep(0.005)


def hint_of(local: Node) -> PeerHint:
    return PeerHint(local.addresses[0], local.peer_id)


def bare(link: Link) -> Link:
    """The link without its hints."""
    return Link(link.share_id)


def same_tree(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes, and nothing else."""
    trees = [
        {path.relative_to(top): path.read_bytes() if path.is_file() else None for path in sorted(top.rglob("*"))}
        for top in (one, other)
    ]
    return trees[0] == trees[1]


class Rogue:
    """A peer with a real identity, TLS and handshake, that then does what `behave(connection)` does."""

    def __init__(self, local: Node, behave: Any) -> None:
        from p2p.identity import Identity, load_or_create
        from p2p.net.tls import Contexts

        self.home = local.home.parent / f"rogue-{random.randrange(1 << 48):x}"
        self.home.mkdir()
        identity: Identity = load_or_create(self.home)
        self.dialer = Dialer(identity, Contexts(identity, self.home, NETWORK), NETWORK)
        self.behave = behave
        self.hint: PeerHint

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await listener.open_listeners([Address("127.0.0.1", 0)])
        address = listener.bound_address(listeners[0])
        self.dialer.port = address.port
        self.hint = PeerHint(address, self.dialer.identity.peer_id)
        admission = listener.Admission(100, 100, 100)
        await listener.run(listeners, self.dialer, admission, self.behave, task_status=task_status)


async def start_rogue(nursery: trio.Nursery, local: Node, behave: Any) -> Rogue:
    rogue = Rogue(local, behave)
    await nursery.start(partial(rogue.run))
    return rogue


class Door:
    """A listener that closes every connection at once, and counts them."""

    def __init__(self) -> None:
        self.came = 0
        self.address: Address

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async def hang_up(stream: trio.SocketStream) -> None:
            self.came += 1
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, hang_up, 0)
            self.address = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
            task_status.started()
