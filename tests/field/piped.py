"""Peers whose connections are pipes, under a clock that jumps to whatever happens next."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from p2p.concurrency.bell import Bell
from p2p.concurrency.throttle import Throttle
from p2p.core.bans import Bans
from p2p.core.shares.manifest import ShareLimits
from p2p.discovery.dht import Overlays
from p2p.discovery.finders import Finders
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.trackers import Trackers
from p2p.errors import PeerError
from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.net.router import Router
from p2p.progress import Progress
from p2p.reach.contacts import Contacts
from p2p.reach.presence import Presence
from p2p.reach.reachability import Reachability
from p2p.sharing.exchange import Exchange
from p2p.sharing.fetching import receiver as receiving
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.receiver import Receiver
from p2p.sharing.readers import Readers
from p2p.sharing.swarm import Swarm
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic
from p2p.sharing.upload_slots import UploadSlots
from p2p.store.database import Database
from p2p.store.dht_state import OverlayState
from p2p.store.disk import Disk
from p2p.store.fetches import Fetches
from p2p.store.library import Library, SharedFiles
from p2p.store.stamps import Stamp
from tests.support.constants import Shorten
from tests.support.pipes import NETWORK, connections, make_dialer
from tests.support.small_shares import Share

TICK_S = 3.0
"""How often a receiver looks after its sources: less often than in use, since these tests last hours."""


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch, shorten: Shorten) -> None:
    """Makes calls of the disk within the trio thread: the virtual clock would not wait for other threads."""
    threaded = trio.to_thread.run_sync

    async def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if "limiter" not in options:
            return await threaded(function, *arguments, **options)  # the verifier, which gets no chunk
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run)
    shorten(receiving, "SMALL_BYTES", 1 << 40)


class Peer:
    """A peer with limits of its own, which shares and fetches over pipes."""

    def __init__(self, home: Path, *, upload: int = 0, download: int = 0, slots: int = 16) -> None:
        dialer = make_dialer(home)
        self._home = home
        self.contacts = Contacts(dialer)
        limit = Throttle(upload)
        self.traffic = Traffic(UploadSlots(slots, 10, limit), limit, Throttle(download))
        self.disk = Disk()
        self.database = Database(home)
        self.library = Library(self.database, ShareLimits())
        self.records = Fetches(self.database, home)
        self.router = Router()
        presence = Presence(dialer, self.contacts, Reachability(never=True), ())
        random = Random(1)
        state = OverlayState(self.database, NETWORK)
        overlays = Overlays(dialer.identity, state, self.disk, NETWORK, 0, None, (), random)
        swarms = Swarms(self.library, self.disk, Bell())
        self.deps = Deps(
            library=self.library,
            records=self.records,
            disk=self.disk,
            presence=presence,
            finders=Finders(presence, Trackers((), NETWORK), overlays, Neighbours(), random),
            router=self.router,
            swarms=swarms,
            readers=Readers(self.library, swarms),
            traffic=self.traffic,
            bans=Bans[PeerId](),
            random=random,
            max_sources=16,
        )

    def share(self, share: Share) -> Swarm:
        """Writes the share's files, and serves them."""
        top = self._home / "files" / share.name
        stamps = []
        for path, data in sorted(share.files.items()):
            assert data is not None
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(data)
            stamps.append(Stamp.of((top / path).stat()))
        body, parts = share.encoded
        self.library.add(share.manifest.share_id, body, parts, [top], stamps, unlisted=False, fetched=False)
        return Swarm(share.manifest.share_id, SharedFiles(self.library, share.manifest.share_id))

    def exchange(self, connection: Connection, swarm: Swarm) -> Exchange:
        return Exchange(connection, swarm, self.contacts, self.traffic, self.disk, self.router.answer)


class Getter(Peer):
    """A peer that fetches one share, which arrives from `first_at` to `last_at`.

    `errors` are what its exchange, and that of its source, ended with.
    """

    def __init__(self, home: Path, share: Share, *, limit: int = 0, **limits: int) -> None:
        super().__init__(home, **limits)
        self.share_wanted = share
        self.progress = Progress()
        self.out = home / "out"
        self._limit = limit
        self.errors: list[PeerError] = []
        self.first_at = self.last_at = 0.0

    async def run(self, *sources: tuple[Peer, Swarm] | Callable[[Connection], Awaitable[None]]) -> None:
        """Fetches all of it, over one connection to each source."""
        target = self.share_wanted.open(self.records, self.out)
        receiver = Receiver(
            self.deps, target, self.progress, lambda hint, named_by: None, throttle=Throttle(self._limit)
        )
        async with receiver.verifying(), trio.open_nursery() as nursery:
            nursery.start_soon(receiver.keep_on_disk)
            for source in sources:
                ours, theirs = connections()
                nursery.start_soon(self._talk, self.exchange(ours, receiver.swarm).run)
                if isinstance(source, tuple):
                    peer, swarm = source
                    nursery.start_soon(self._talk, peer.exchange(theirs, swarm).run)
                else:
                    nursery.start_soon(source, theirs)
            while not receiver.done and not self.errors:
                receiver.tick()
                if self.progress.received and not self.first_at:
                    self.first_at = trio.current_time()
                with trio.move_on_after(TICK_S):
                    await receiver.ended()
            self.last_at = trio.current_time()
            nursery.cancel_scope.cancel()
        target.close()

    async def _talk(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except PeerError as error:
            self.errors.append(error)

    @property
    def finished(self) -> bool:
        return self.share_wanted.in_place(self.out)


@asynccontextmanager
async def closing(*peers: Peer) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for peer in peers:
            peer.database.close()
