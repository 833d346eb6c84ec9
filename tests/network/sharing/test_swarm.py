"""Several honest peers: they help each other, come and go, and nothing is fetched twice."""

import os
from functools import partial

import pytest
import trio

from p2p.core.shares import bitmap
from p2p.core.shares.manifest import ShareLimits
from p2p.errors import ConfigError, NotFound, Unacceptable
from p2p.progress import Progress
from p2p.sharing.fetching.supply import Options
from p2p.store.fetches import FETCH_FOLDER
from tests.support.world import World, bare, hint_of, same_tree, until

MIB = 1024 * 1024
FILES = {"large.bin": 6 * MIB + 5, "a/small.txt": 1000, "a/b/empty": 0, "again.bin": 1000}


async def test_four_fetchers_feed_each_other(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=3 * MIB)
    published = await world.publish(origin, FILES)
    size = 6 * MIB + 2005
    fetchers = [await world.peer(f"fetcher{number}") for number in range(4)]
    async with trio.open_nursery() as nursery:
        for fetcher in fetchers:
            nursery.start_soon(partial(world.get, fetcher, published.link, keep_serving=True))
    for fetcher in fetchers:
        assert same_tree(published.path, world.out(fetcher) / "data")
    # Each was told only of the origin; what the others gave came through peer exchange.
    assert origin.traffic.bytes_uploaded < 2.5 * size
    assert sum(fetcher.traffic.bytes_uploaded for fetcher in fetchers) > size


async def test_what_was_fetched_is_served_and_only_what_was_shared_listed(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    second = await world.peer("second")
    await world.get(second, published.link, keep_serving=True)
    await world.stop("origin")
    third = await world.peer("third")
    result = await world.get(third, bare(published.link), [hint_of(second)])
    assert result.sources.keys() == {second.peer_id}
    assert same_tree(published.path, world.out(third) / "data")


async def test_a_source_that_vanishes_is_replaced_and_used_again_when_it_returns(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=4 * MIB)
    published = await world.publish(origin, FILES)
    address = origin.addresses[0]
    fetcher = await world.peer("fetcher")
    progress = Progress()
    link = bare(published.link)
    options = Options(folder=world.out(fetcher))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetcher.open_shares.fetch, link, [hint_of(origin)], options, progress)
        with trio.fail_after(30):
            await until(lambda: progress.done >= 2 * MIB)
            await world.stop("origin")
            await until(lambda: progress.state == "waiting for sources")
            await world.peer("origin", listen=str(address))
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_a_cancelled_fetch_goes_on_and_fetches_nothing_again(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=6 * MIB)
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    progress = Progress()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            options = Options(folder=world.out(fetcher))
            nursery.start_soon(fetcher.open_shares.fetch, published.link, [], options, progress)
            await until(lambda: progress.done >= 3 * MIB)
            scope.cancel()
    (record,) = (fetcher.home / FETCH_FOLDER).iterdir()
    kept = bitmap.from_bytes(record.read_bytes())
    result = await world.get(fetcher, bare(published.link))  # the source is remembered
    assert same_tree(published.path, world.out(fetcher) / "data")
    assert kept.bit_count() >= 12
    # A chunk is 256 KiB; what was kept is not fetched again, and no chunk twice.
    assert result.received <= 6 * MIB + 2005 - (kept.bit_count() - 3) * 256 * 1024


async def test_a_file_that_changes_at_one_source_comes_from_the_other(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=4 * MIB)
    published = await world.publish(origin, FILES)
    other = await world.peer("other", upload_limit_bytes_per_s=4 * MIB)
    good = await world.publish(other, FILES)
    assert good.link.share_id == published.link.share_id
    with (published.path / "large.bin").open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"changed")
    fetcher = await world.peer("fetcher")
    result = await world.get(fetcher, bare(published.link), [hint_of(origin), hint_of(other)])
    assert same_tree(good.path, world.out(fetcher) / "data")
    assert other.peer_id in result.sources
    (row,) = origin.library.shares()
    assert row.stale is not None
    assert "large.bin" in row.stale


async def test_a_file_cut_short_while_shared_is_not_served(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    os.truncate(published.path / "large.bin", MIB)
    fetcher = await world.peer("fetcher")
    with pytest.raises(NotFound):
        await world.get(fetcher, published.link, wait_s=1.0)
    assert not (world.out(fetcher) / "data" / "large.bin").exists()


async def test_unsharing_ends_the_exchanges(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=2 * MIB)
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    progress = Progress()
    async with trio.open_nursery() as nursery:
        options = Options(folder=world.out(fetcher))
        nursery.start_soon(fetcher.open_shares.fetch, published.link, [], options, progress)
        with trio.fail_after(30):
            await until(lambda: progress.done >= MIB)
            await origin.sharing.unshare(published.link.share_id)
            await until(lambda: "does not have" in progress.trouble)
            assert not origin.swarms
        nursery.cancel_scope.cancel()


async def test_sharing_the_same_paths_again_makes_a_new_share_in_place_of_the_old(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    (published.path / "a" / "small.txt").write_bytes(b"new")
    again = await origin.sharing.share([published.path], "data", Progress(), unlisted=False)
    assert again.share_id != published.link.share_id
    assert again.reused == 6 * MIB + 5 + 1000
    assert [row.id for row in origin.library.shares()] == [again.share_id]


async def test_a_peer_fetches_from_its_own_library_without_anybody(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    result = await world.get(origin, bare(published.link), wait_s=5.0)
    assert result.received == 0
    assert same_tree(published.path, world.out(origin) / "data")


async def test_a_share_is_not_fetched_twice_at_once(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=MIB)
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, published.link)
        await until(lambda: bool(fetcher.swarms.fetches))
        with pytest.raises(ConfigError, match="fetching that share already"):
            await world.get(fetcher, published.link)
        nursery.cancel_scope.cancel()


async def test_a_selection_and_then_the_rest(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    part = await world.get(fetcher, published.link, select=("a",))
    assert sorted(path.name for path in part.paths) == ["empty", "small.txt"]
    assert part.bytes == 1000
    rest = await world.get(fetcher, published.link)
    assert rest.received == 6 * MIB + 5 + 1000
    assert same_tree(published.path, world.out(fetcher) / "data")


async def test_upload_slots_take_turns(world: World) -> None:
    origin = await world.peer("origin", upload_slots=1, slot_quantum_s=0.05, upload_limit_bytes_per_s=8 * MIB)
    published = await world.publish(origin, {"large.bin": 4 * MIB})
    fetchers = [await world.peer(f"fetcher{number}") for number in range(3)]
    async with trio.open_nursery() as nursery:
        for fetcher in fetchers:
            nursery.start_soon(world.get, fetcher, published.link)
    for fetcher in fetchers:
        assert same_tree(published.path, world.out(fetcher) / "data")


async def test_what_is_larger_than_the_limits_is_refused_at_once(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    fetcher = await world.peer("fetcher")
    # Whoever gives it is not to blame, however often.
    for _ in range(3):
        with pytest.raises(Unacceptable, match=r"entries 4, at most 3; see entries of \[limits\] in config.toml"):
            await world.get(fetcher, published.link, limits=ShareLimits(entries=3))
    with pytest.raises(Unacceptable, match="share_bytes"):
        await world.get(fetcher, published.link, limits=ShareLimits(size=5 * MIB))
    await world.get(fetcher, published.link)
    assert same_tree(published.path, world.out(fetcher) / "data")
