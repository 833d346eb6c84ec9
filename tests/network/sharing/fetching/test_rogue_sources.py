"""Sources that lie, stall or flood: what arrives is right, and soon."""

import pytest
import trio

from p2p.errors import NotFound
from p2p.net.connection import Connection
from p2p.progress import Progress
from p2p.wire.messages import Want
from tests.support.rogue_sources import NAMES, Truth, behaviours, play
from tests.support.world import Rogue, World, bare, hint_of, same_tree, start_rogue

FILES = {"large.bin": 3 * 1024 * 1024 + 17, "small.txt": 999, "sub/other.bin": 300_000}


@pytest.mark.parametrize("name", NAMES)
async def test_one_rogue_beside_one_good_source(world: World, name: str) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=6 * 1024 * 1024)
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    truth = Truth.of(origin, published.link.share_id)
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, origin, behaviours(truth)[name])
        result = await world.get(fetcher, bare(published.link), [rogue.hint, published.hint])
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")
    # The first frame of one may be a whole chunk, and right; what the other sends may be asked of it meanwhile.
    if name not in {"too_long", "dribbles", "unasked"}:
        assert result.sources.keys() == {origin.peer_id}


async def test_ten_rogues_and_five_good_sources(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=4 * 1024 * 1024)
    published = await world.publish(origin, FILES)
    good = [origin]
    for number in range(4):
        other = await world.peer(f"good{number}", upload_limit_bytes_per_s=4 * 1024 * 1024)
        await world.publish_path(other, published.path)
        good.append(other)
    fetcher = await world.peer("fetcher")
    truth = Truth.of(origin, published.link.share_id)
    kinds = ["wrong_bytes", "wrong_part", "too_long", "gone", "silent", "dribbles", "closes", "floods", "giant_frame"]
    async with trio.open_nursery() as nursery:
        rogues: list[Rogue] = [
            await start_rogue(nursery, origin, behaviours(truth)[kind]) for kind in [*kinds, "names_others"]
        ]
        hints = [rogue.hint for rogue in rogues] + [hint_of(peer) for peer in good]
        result = await world.get(fetcher, bare(published.link), hints)
        nursery.cancel_scope.cancel()
    assert same_tree(published.path, world.out(fetcher) / "data")
    assert result.sources.keys() & {peer.peer_id for peer in good}


@pytest.mark.parametrize("name", ["wrong_bytes", "one_wrong_bit", "closes", "gone", "wrong_part"])
async def test_with_only_a_rogue_nothing_wrong_is_ever_put_into_place(world: World, name: str) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    truth = Truth.of(origin, published.link.share_id)
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, origin, behaviours(truth)[name])
        # Bytes that never come to anything do not make it wait for ever.
        with trio.fail_after(10), pytest.raises(NotFound):
            await world.get(fetcher, bare(published.link), [rogue.hint], wait_s=1.0)
        nursery.cancel_scope.cancel()
    for path in world.out(fetcher).rglob("*"):
        assert path.is_dir() or path.name.endswith(".part")
    # What the rogue spoilt is fetched from a good source afterwards.
    await world.get(fetcher, bare(published.link), [published.hint])
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_of_many_small_chunks_that_come_at_once_one_is_wrong(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {f"{number:03}": 3000 + number for number in range(100)})
    fetcher = await world.peer("fetcher")
    truth = Truth.of(origin, published.link.share_id)

    async def lie_of_one(connection: Connection, truth: Truth, want: Want) -> None:
        for number in range(want.first, want.first + want.count):
            data = bytearray(truth.chunk(number))
            data[0] ^= number == 50
            await connection.send_data(number, 0, memoryview(data))
        await connection.flush()

    async def behave(connection: Connection) -> None:
        await play(connection, truth, lie_of_one)

    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, origin, behave)
        with trio.fail_after(10), pytest.raises(NotFound):
            await world.get(fetcher, bare(published.link), [rogue.hint], wait_s=1.0, sequential=True)
        nursery.cancel_scope.cancel()
    # What came before is kept.
    result = await world.get(fetcher, bare(published.link), [published.hint])
    assert 3050 <= result.received <= sum(3000 + number for number in range(50, 100))
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_a_repeated_liar_is_banned(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    truth = Truth.of(origin, published.link.share_id)
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, origin, behaviours(truth)["wrong_bytes"])
        with pytest.raises(NotFound):
            await world.get(fetcher, bare(published.link), [rogue.hint], wait_s=3.0)
        nursery.cancel_scope.cancel()
    assert fetcher.bans.banned_until(rogue.dialer.identity.peer_id) > trio.current_time()


async def test_a_source_of_crumbs_is_left_at_its_first(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    truth = Truth.of(origin, published.link.share_id)
    progress = Progress()
    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, origin, behaviours(truth)["crumbs"])
        with trio.fail_after(10), pytest.raises(NotFound):
            await world.get(fetcher, bare(published.link), [rogue.hint], wait_s=1.0, progress=progress)
        nursery.cancel_scope.cancel()
    assert "crumbs" in progress.trouble
    assert progress.received == 0
