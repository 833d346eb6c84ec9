"""Inputs take no more of a volunteer's disk than its bound and what its units read at the moment."""

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from p2p.errors import ConfigError, NotFound
from p2p.ids import ShareId
from p2p.node import Node
from p2p.progress import Progress
from p2p.sharing.reading import open_share
from tests.support.constants import Shorten
from tests.support.world import Published, World, same_tree, until, using

KIB, MIB = 1024, 1024 * 1024
CHUNK = 256 * KIB
SPARE = 64 * KIB
"""Blocks of the disk, for folders and for files that do not fill theirs."""


def taken(local: Node) -> int:
    """Bytes of the disk that inputs take."""
    size = 0
    for folder, _, names in os.walk(local.home / "volunteer" / "inputs"):
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(folder, name).stat().st_blocks * 512
    return size


@asynccontextmanager
async def watching(local: Node) -> AsyncIterator[list[int]]:
    """The most that they took while the body ran."""
    most = [0]

    async def look() -> None:
        while True:
            most[0] = max(most[0], taken(local))
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        yield most
        nursery.cancel_scope.cancel()


async def test_what_units_have_read_makes_room_for_what_they_read_next(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 8 * MIB, "small.bin": MIB})
    truth = (published.path / "large.bin").read_bytes()
    reader = await world.peer("reader", volunteer={"cache_bytes": 3 * MIB})
    async with using(reader, published.link.share_id, [published.hint]) as held, watching(reader) as most:
        for _ in range(2):
            for offset in range(0, 8 * MIB, MIB):
                await held.expect("large.bin", offset + MIB, MIB)
                assert await held.read("large.bin", offset, MIB) == truth[offset : offset + MIB]
        # Little is dropped that was asked for ahead.
        assert 8 * MIB < held.fetched == reader.traffic.bytes_downloaded <= 24 * MIB
    assert MIB < most[0] <= 4 * MIB + SPARE
    assert taken(reader) <= 3 * MIB + SPARE


async def test_units_at_once_take_no_more_than_they_read(world: World) -> None:
    origin = await world.peer("origin")
    published = [await world.publish(origin, {"large.bin": 12 * MIB}, f"data{n}", seed=n) for n in range(2)]
    reader = await world.peer("reader", volunteer={"cache_bytes": 2 * MIB})
    chance = random.Random(3)
    units = 4

    async def slot(one: Published, places: Sequence[int]) -> None:
        truth = (one.path / "large.bin").read_bytes()
        async with using(reader, one.link.share_id, [one.hint]) as held:
            for offset in places:
                assert await held.read("large.bin", offset, MIB) == truth[offset : offset + MIB]

    async with watching(reader) as most, trio.open_nursery() as nursery:
        for number in range(units):
            places = [chance.randrange(11 * MIB) for _ in range(6)]
            nursery.start_soon(slot, published[number % 2], places)
    assert most[0] <= 2 * MIB + units * (MIB + 2 * CHUNK) + SPARE
    assert not reader.swarms.fetches


async def test_a_unit_may_read_more_than_the_bound(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 8 * MIB})
    truth = (published.path / "large.bin").read_bytes()
    reader = await world.peer("reader", volunteer={"cache_bytes": MIB})

    async def unit(first: int) -> None:
        async with using(reader, published.link.share_id, [published.hint]) as held:
            assert await held.read("large.bin", first, 4 * MIB) == truth[first : first + 4 * MIB]

    async with watching(reader) as most, trio.open_nursery() as nursery:
        for first in (0, 4 * MIB):
            nursery.start_soon(unit, first)
    assert most[0] <= MIB + 2 * 4 * MIB + SPARE
    assert taken(reader) <= MIB + SPARE


async def test_who_waits_in_vain_keeps_no_room(world: World, shorten: Shorten) -> None:
    """What has been asked of nobody is dropped beneath its reader, which begins again, and is found there."""
    shorten(open_share, "READERS_TIMEOUT_S", 0.2)
    origin, other = await world.peer("origin"), await world.peer("other")
    first = await world.publish(origin, {"some.bin": 2 * MIB}, "first")
    second = await world.publish(other, {"some.bin": 2 * MIB}, "second", seed=2)
    reader = await world.peer("reader", volunteer={"cache_bytes": 3 * MIB})
    async with trio.open_nursery() as nursery, using(reader, first.link.share_id, [first.hint]) as held:
        assert len(await held.read("some.bin", 0, MIB)) == MIB
        await world.stop("origin")
        found: list[bytes] = []

        async def wait() -> None:
            found.append(await held.read("some.bin", 3 * MIB // 2, 100))

        nursery.start_soon(wait)
        await until(lambda: held.parts is not None and held.parts.taken > MIB)
        async with using(reader, second.link.share_id, [second.hint]) as another:
            assert await another.read("some.bin", 0, 2 * MIB) == (second.path / "some.bin").read_bytes()
        assert not found
        origin = await world.peer("origin")
        again = reader.open_shares.open(first.link.share_id, [(await world.publish_path(origin, first.path)).hint])
        await until(lambda: found)
        await reader.open_shares.release(again)
    assert found == [(first.path / "some.bin").read_bytes()[3 * MIB // 2 :][:100]]


async def test_files_that_are_equal_take_no_more_than_what_was_fetched(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {f"{number}.bin": MIB for number in range(8)})
    for number in range(8):
        (published.path / f"{number}.bin").write_bytes((published.path / "0.bin").read_bytes())
    published = await world.publish_path(origin, published.path)
    reader = await world.peer("reader", volunteer={"cache_bytes": 3 * MIB})
    share = published.link.share_id
    async with watching(reader) as most:
        for _ in range(2):
            async with using(reader, share, [published.hint]) as held:
                for number in range(8):
                    assert len(await held.read(f"{number}.bin", 0, MIB)) == MIB
                assert await reader.open_shares.holds(share)
    assert reader.traffic.bytes_downloaded == MIB
    assert most[0] <= MIB + SPARE


# The user of a volunteer fetches what a job there is reading.


async def reading(local: Node, share: ShareId, published: Published, over: trio.Event) -> int:
    """A job that reads one range after the other until it is over; how many it read."""
    truth = (published.path / "large.bin").read_bytes()
    chance = random.Random(5)
    count = 0
    async with using(local, share, [published.hint]) as held:
        while not over.is_set() or count < 5:
            offset = chance.randrange(len(truth) - MIB)
            assert await held.read("large.bin", offset, MIB) == truth[offset : offset + MIB]
            count += 1
    return count


@pytest.mark.parametrize("cache", [64 * MIB, 3 * MIB])
async def test_the_user_gets_a_share_that_a_job_is_reading(world: World, cache: int) -> None:
    origin = await world.peer("origin")
    files = {"large.bin": 8 * MIB + 5, "sub/small.bin": 1000, "empty": 0}
    published = await world.publish(origin, files)
    (published.path / "sub" / "again.bin").write_bytes((published.path / "sub" / "small.bin").read_bytes())
    published = await world.publish_path(origin, published.path)
    share = published.link.share_id
    reader = await world.peer("reader", volunteer={"cache_bytes": cache})
    over, progress = trio.Event(), Progress()
    async with watching(reader) as most, trio.open_nursery() as nursery:
        nursery.start_soon(reading, reader, share, published, over)
        await until(lambda: reader.open_shares.being_read(share))
        done = await world.get(reader, published.link, progress=progress, keep_serving=True)
        over.set()
    out = world.out(reader) / "data"
    assert done.paths == (out,)
    assert done.received == 8 * MIB + 5 + 1000
    assert progress.done == progress.size
    assert same_tree(published.path, out)
    assert most[0] <= cache + 9 * (MIB + 2 * CHUNK) + SPARE
    # It is the user's from now on, whatever becomes of the job's.
    row = reader.library.share(share)
    assert row is not None
    assert row.paths == (str(out),)
    assert not reader.swarms.fetches
    async with using(reader, share) as held:
        await world.stop("origin")
        assert await held.read("sub/small.bin", 5, 5) == (published.path / "sub" / "small.bin").read_bytes()[5:10]


async def test_one_joins_only_once_and_what_it_has_stays(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=4 * MIB)
    published = await world.publish(origin, {"large.bin": 6 * MIB})
    share = published.link.share_id
    reader = await world.peer("reader")
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading, reader, share, published, over)
        await until(lambda: reader.open_shares.being_read(share))
        first = Progress()
        async with trio.open_nursery() as getting:
            getting.start_soon(partial(world.get, reader, published.link, progress=first))
            await until(lambda: first.done >= CHUNK)
            with pytest.raises(ConfigError, match="fetching that share already"):
                await world.get(reader, published.link)
            getting.cancel_scope.cancel()
        second = Progress()
        done = await world.get(reader, published.link, progress=second)
        over.set()
    assert second.resumed >= CHUNK
    assert done.received <= 6 * MIB - second.resumed
    assert same_tree(published.path, world.out(reader) / "data")


async def test_a_user_who_will_not_wait_is_told(world: World) -> None:
    origin = await world.peer("origin")
    published = await world.publish(origin, {"large.bin": 4 * MIB})
    reader = await world.peer("reader")
    async with using(reader, published.link.share_id, [published.hint]) as held:
        await held.read("large.bin", 0, MIB)
        await world.stop("origin")
        with pytest.raises(NotFound, match="Nobody had it for"):
            await world.get(reader, published.link, wait_s=0.5)
        assert len(await held.read("large.bin", 0, MIB)) == MIB
