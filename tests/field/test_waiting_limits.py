"""Limits of bytes per second: however small they are, everybody is served, and nobody alive is taken for dead.

The peers are real, their connections pipes, and the clock jumps to whatever happens next.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from p2p.concurrency.bell import Bell
from p2p.concurrency.throttle import Throttle
from p2p.core.bans import Bans
from p2p.core.shares.download import SILENT_S
from p2p.core.shares.manifest import ShareLimits
from p2p.discovery.dht import Overlays
from p2p.discovery.finders import Finders
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.trackers import Trackers
from p2p.errors import PeerError, PeerGone
from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.net.router import Router
from p2p.progress import Progress
from p2p.reach.contacts import Contacts
from p2p.reach.presence import Presence
from p2p.reach.reachability import Reachability
from p2p.sharing import exchange
from p2p.sharing.exchange import Exchange
from p2p.sharing.fetching import receiver as receiving
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.receiver import Receiver
from p2p.sharing.swarm import Swarm
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic
from p2p.sharing.upload_slots import UploadSlots
from p2p.store.database import Database
from p2p.store.dht_state import OverlayState
from p2p.store.disk import Disk
from p2p.store.fetches import Fetches
from p2p.store.library import Library, SharedFiles, Stamp
from p2p.wire.frames import DataHeader, data_header
from p2p.wire.messages import Have, Want
from tests.support.constants import Shorten
from tests.support.pipes import NETWORK, connections, make_dialer
from tests.support.small_shares import Share, noise

KIB, MIB = 1024, 1024 * 1024
TICK_S = 3.0
"""How often a receiver looks after its sources: less often than in use, since these tests last hours."""


@pytest.fixture(autouse=True)
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
        self.deps = Deps(
            library=self.library,
            records=self.records,
            disk=self.disk,
            presence=presence,
            finders=Finders(presence, Trackers((), NETWORK), overlays, Neighbours(), random),
            router=self.router,
            swarms=Swarms(self.library, self.disk, Bell()),
            traffic=self.traffic,
            bans=Bans[PeerId](),
            random=random,
            max_sources=16,
        )

    def share(self, share: Share) -> Swarm:
        """Writes the share's files, and serves them."""
        top = self._home / "files" / share.name
        stamps = []
        for path, data in share.files.items():
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
        receiver = Receiver(self.deps, target, self.progress, lambda hint: None, limit_bytes_per_s=self._limit)
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


def shares(count: int, size: int) -> list[Share]:
    return [Share({"file": noise(number, size)}, name=f"share{number}") for number in range(count)]


@pytest.mark.parametrize("getters", [1, 3, 14])
@pytest.mark.parametrize(("limit", "size"), [(3 * KIB, 64 * KIB), (16 * KIB, 512 * KIB), (100 * KIB, MIB)])
async def test_a_small_upload_limit_serves_all_and_is_used(
    tmp_path: Path, autojump_clock: MockClock, limit: int, size: int, getters: int
) -> None:
    """OneSwarm#65, qBittorrent#6739, Tribler#5290: a small limit served nobody, and a fifth of it was used."""
    source = Peer(tmp_path / "source", upload=limit)
    wanted = shares(getters, size)
    peers = [Getter(tmp_path / share.name, share) for share in wanted]
    started = trio.current_time()
    async with closing(source, *peers):
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(peer.run, (source, source.share(peer.share_wanted)))
        took = max(peer.last_at for peer in peers) - started
        assert [error for peer in peers for error in peer.errors] == []
        assert all(peer.finished for peer in peers)
        assert getters * size >= 0.85 * limit * took
        assert getters * size == sum(peer.progress.received for peer in peers), "nothing came twice"
        assert took >= (getters * size - max(64 * KIB, limit)) / limit, "the limit is kept"


@pytest.mark.parametrize("limit", [4 * KIB, 300])
@pytest.mark.parametrize("of_peer", [False, True])
async def test_a_getter_with_a_small_limit_keeps_its_sources(
    tmp_path: Path, autojump_clock: MockClock, limit: int, of_peer: bool
) -> None:
    """A `get --limit 4KiB` dropped its source every 30 seconds: it took its own pauses for the source's silence."""
    (wanted,) = shares(1, 400_000)
    source = Peer(tmp_path / "source")
    own = {"download": limit} if of_peer else {"limit": limit}
    getter = Getter(tmp_path / "getter", wanted, **own)
    started = trio.current_time()
    async with closing(getter, source):
        await getter.run((source, source.share(wanted)))
    assert (getter.errors, getter.finished) == ([], True)
    assert trio.current_time() - started == pytest.approx(400_000 / limit, rel=0.02)


async def test_what_is_late_because_of_the_own_limit_is_not_fetched_twice(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (wanted,) = shares(1, 400_000)
    sources = [Peer(tmp_path / name) for name in ("one", "other")]
    getter = Getter(tmp_path / "getter", wanted, limit=4 * KIB)
    async with closing(getter, *sources):
        await getter.run(*((source, source.share(wanted)) for source in sources))
    assert (getter.errors, getter.finished) == ([], True)
    assert getter.progress.received == 400_000


async def test_a_small_file_does_not_wait_for_another_s_large_chunk(tmp_path: Path, autojump_clock: MockClock) -> None:
    source = Peer(tmp_path / "source", upload=KIB)
    large = Getter(tmp_path / "large", Share({"file": noise(1, 256 * KIB)}, name="large"))
    small = Getter(tmp_path / "small", Share({"file": noise(2, 10 * KIB)}, name="small"))
    started = trio.current_time()
    async with closing(source, large, small), trio.open_nursery() as nursery:
        nursery.start_soon(large.run, (source, source.share(large.share_wanted)))
        await trio.sleep(1)
        nursery.start_soon(small.run, (source, source.share(small.share_wanted)))
    assert large.errors == small.errors == []
    assert large.finished
    assert small.finished
    assert small.last_at - started < 80
    assert large.last_at - started < 300


async def test_whoever_leaves_owes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    source = Peer(tmp_path / "source", upload=3 * KIB)
    share, other = shares(2, 64 * KIB)
    swarm = source.share(other)
    getter = Getter(tmp_path / "getter", share)
    async with closing(source, getter):
        for _ in range(30):
            ours, theirs = connections()
            with trio.move_on_after(0.1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(source.exchange(theirs, swarm).run)
                    await ours.send(Want(first=0, count=1))
            ours.close()
        started = trio.current_time()
        await getter.run((source, source.share(share)))
    assert (getter.errors, getter.finished) == ([], True)
    assert trio.current_time() - started < 25


async def test_a_slow_source_says_that_it_is_alive(tmp_path: Path, autojump_clock: MockClock) -> None:
    source = Peer(tmp_path / "source", upload=10)
    (share,) = shares(1, 64 * KIB)
    ours, theirs = connections()
    heard: list[float] = []

    async def listen() -> None:
        while not isinstance(message := await ours.receive(), DataHeader):
            assert isinstance(message, Have)
            await ours.send(Have())
            heard.append(trio.current_time())

    async with closing(source), trio.open_nursery() as nursery:
        serving = source.exchange(theirs, source.share(share))
        nursery.start_soon(serving.run)
        await ours.send(Want(first=0, count=1))
        started = trio.current_time()
        await listen()
        assert trio.current_time() - started > SILENT_S
        assert max(later - earlier for earlier, later in pairwise([started, *heard])) < SILENT_S / 2
        nursery.cancel_scope.cancel()


async def test_whoever_waits_and_says_nothing_is_dead(tmp_path: Path, autojump_clock: MockClock) -> None:
    source = Peer(tmp_path / "source", upload=10)
    (share,) = shares(1, 64 * KIB)
    ours, theirs = connections()
    async with closing(source):
        serving = source.exchange(theirs, source.share(share))
        await ours.send(Want(first=0, count=1))
        started = trio.current_time()
        with pytest.raises(PeerGone, match="nothing was heard"):
            await serving.run()
        assert trio.current_time() - started < 2 * exchange.SILENT_S


async def test_a_frame_that_takes_minutes_is_no_silence(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A line of 2 KiB per second, on which a frame of 256 KiB takes two minutes."""
    (share,) = shares(1, 256 * KIB)
    getter = Getter(tmp_path / "getter", share)
    frame = data_header(0, 0, 256 * KIB) + share.chunk(0)

    async def serve(connection: Connection) -> None:
        await connection.send(Have(ranges=((0, 1),)))
        while not isinstance(await connection.receive(), Want):
            pass
        for at in range(0, len(frame), 20 * KIB):
            await connection._stream.send_all(frame[at : at + 20 * KIB])
            await trio.sleep(10)

    async with closing(getter):
        await getter.run(serve)
    assert (getter.errors, getter.finished) == ([], True)
