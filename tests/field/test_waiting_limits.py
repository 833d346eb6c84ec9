"""Limits of bytes per second: however small they are, everybody is served, and nobody alive is taken for dead.

The peers are real, their connections pipes, and the clock jumps to whatever happens next.
"""

from itertools import pairwise
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from p2p.core.shares.download import SILENT_S
from p2p.errors import PeerGone
from p2p.net.connection import Connection
from p2p.sharing import exchange
from p2p.wire.frames import DataHeader, data_header
from p2p.wire.messages import Have, Want
from tests.field.piped import Getter, Peer, closing
from tests.field.piped import no_threads as no_threads
from tests.support.pipes import connections
from tests.support.small_shares import Share, noise

KIB, MIB = 1024, 1024 * 1024

pytestmark = pytest.mark.usefixtures("no_threads")


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
