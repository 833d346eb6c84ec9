"""Ranges of a share that this peer's user is fetching: from that fetch, before all else, and nothing twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p import ids
from p2p.core.shares.download import MIN_AHEAD_BYTES
from p2p.errors import NotFound, StorageError
from p2p.node import Node
from p2p.progress import Progress
from p2p.sharing.reading.alongside import Alongside
from tests.network.gateway.asking import http_client
from tests.support.world import Published, World, same_tree, until, using

MIB = 1024 * 1024
CHUNK = 256 * 1024
LATE = 5 * MIB


class Getting:
    """A `get` that runs."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.scope = trio.CancelScope()
        self.failure: Exception | None = None


@pytest.fixture
async def origin(world: World) -> Node:
    return await world.peer("origin", upload_limit_bytes_per_s=4 * MIB)


@pytest.fixture
async def reader(world: World) -> Node:
    return await world.peer("reader")


@asynccontextmanager
async def getting(world: World, reader: Node, published: Published, **options: Any) -> AsyncIterator[Getting]:
    """Fetches the share as its user does, and runs the body when the first chunk is there."""
    one = Getting(Progress())

    async def get() -> None:
        with one.scope:
            try:
                await world.get(reader, published.link, progress=one.progress, **options)
            except StorageError as error:
                one.failure = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get)
        await until(lambda: one.progress.done >= CHUNK)
        yield one


def truth(published: Published, path: str, offset: int, size: int) -> bytes:
    return (published.path / path).read_bytes()[offset : offset + size]


async def test_a_range_is_read_before_the_fetch_is_done_and_nothing_comes_twice(
    world: World, origin: Node, reader: Node
) -> None:
    origin.traffic.limit(2 * MIB, None)
    published = await world.publish(origin, {"a.bin": 4 * MIB, "sub/b.bin": 8 * MIB})
    async with (
        getting(world, reader, published, sequential=True) as fetch,
        using(reader, published.link.share_id) as held,
    ):
        assert await held.read("sub/b.bin", LATE + 3, MIB) == truth(published, "sub/b.bin", LATE + 3, MIB)
        assert fetch.progress.done < 12 * MIB
        origin.traffic.limit(0, None)
        assert await held.lines("a.bin", 0, 100, MIB)
        assert held.taken == 0
        assert isinstance(held.parts, Alongside)
    assert reader.traffic.bytes_downloaded == 12 * MIB
    assert same_tree(published.path, world.out(reader) / "data")


async def test_the_gateway_answers_before_the_fetch_is_done(world: World, origin: Node, reader: Node) -> None:
    origin.traffic.limit(2 * MIB, None)
    published = await world.publish(origin, {"a.bin": 12 * MIB})
    async with getting(world, reader, published, sequential=True) as fetch, http_client(reader) as client:
        url = f"/s/{ids.to_text(published.link.share_id)}/a.bin"
        part = await client.get(url, headers={"range": f"bytes={9 * MIB}-{10 * MIB - 1}"})
        assert (part.status_code, part.content) == (206, truth(published, "a.bin", 9 * MIB, MIB))
        assert fetch.progress.done < 12 * MIB
        origin.traffic.limit(0, None)
    assert reader.traffic.bytes_downloaded == 12 * MIB


async def test_files_that_have_other_names_here_are_read_by_their_own(world: World, origin: Node, reader: Node) -> None:
    published = await world.publish(origin, {".git/config": 3 * MIB, "b.bin": MIB})
    async with getting(world, reader, published, keep_serving=True), using(reader, published.link.share_id) as held:
        assert await held.read(".git/config", MIB, 10) == truth(published, ".git/config", MIB, 10)
        await until(lambda: not reader.fetching.under_way)
        assert await held.read(".git/config", MIB, 10) == truth(published, ".git/config", MIB, 10)
    assert not (world.out(reader) / "data" / ".git").exists()
    assert reader.traffic.bytes_downloaded == 4 * MIB


async def test_equal_files_are_read_from_the_one_that_is_fetched(world: World, origin: Node, reader: Node) -> None:
    published = await world.publish(origin, {"a.bin": 3 * MIB})
    (published.path / "b.bin").write_bytes((published.path / "a.bin").read_bytes())
    published = await world.publish_path(origin, published.path)
    async with getting(world, reader, published), using(reader, published.link.share_id) as held:
        assert await held.read("b.bin", 2 * MIB, 10) == truth(published, "a.bin", 2 * MIB, 10)
    assert reader.traffic.bytes_downloaded == 3 * MIB


async def test_a_file_that_was_not_selected_is_fetched_for_its_reader(world: World, origin: Node, reader: Node) -> None:
    published = await world.publish(origin, {"a.bin": 4 * MIB, "other.bin": 3 * MIB})
    async with (
        getting(world, reader, published, select=("a.bin",), keep_serving=True) as fetch,
        using(reader, published.link.share_id, [published.hint]) as held,
    ):
        assert await held.read("a.bin", 4 * MIB - 5, 5) == truth(published, "a.bin", 4 * MIB - 5, 5)
        assert isinstance(held.parts, Alongside)
        assert await held.read("other.bin", MIB, 5) == truth(published, "other.bin", MIB, 5)
        assert reader.open_shares.being_read(published.link.share_id)
        await until(lambda: fetch.progress.state == "done")
        assert [path.name for path in (world.out(reader) / "data").iterdir()] == ["a.bin"]
        assert truth(published, "a.bin", 0, 4 * MIB) == (world.out(reader) / "data" / "a.bin").read_bytes()
        # What the user's fetch has got is not fetched again, be it before it gave way or after.
        assert await held.read("a.bin", 0, 4 * MIB) == truth(published, "a.bin", 0, 4 * MIB)
    assert reader.traffic.bytes_downloaded <= 4 * MIB + CHUNK + MIN_AHEAD_BYTES  # what was on its way


async def test_of_a_share_that_is_here_in_part_only_the_rest_is_fetched(world: World, reader: Node) -> None:
    published = await world.publish(await world.peer("fast"), {"a.bin": 4 * MIB, "other.bin": 3 * MIB})
    await world.get(reader, published.link, select=("a.bin",), keep_serving=True)
    async with using(reader, published.link.share_id, [published.hint]) as held:
        await held.expect("a.bin", 0, 4 * MIB)
        assert await held.read("a.bin", 0, 4 * MIB) == truth(published, "a.bin", 0, 4 * MIB)
        assert await held.read("other.bin", MIB, 5) == truth(published, "other.bin", MIB, 5)
        assert reader.traffic.bytes_downloaded == 4 * MIB + CHUNK
        assert held.taken == 4 * MIB + CHUNK
    # What differs on the disk from the share is fetched.
    other = await world.peer("other")
    await world.get(other, published.link, select=("a.bin",), keep_serving=True)
    (world.out(other) / "data" / "a.bin").write_bytes(bytes(4 * MIB))
    async with using(other, published.link.share_id, [published.hint]) as held:
        assert await held.read("a.bin", MIB, 5) == truth(published, "a.bin", MIB, 5)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_fetch_that_ends_midway_hands_its_readers_over(
    world: World, origin: Node, reader: Node, how: str
) -> None:
    published = await world.publish(origin, {"a.bin": 12 * MIB})
    share, whole = published.link.share_id, truth(published, "a.bin", 0, 12 * MIB)
    async with (
        getting(world, reader, published, sequential=True) as fetch,
        using(reader, share, [published.hint]) as held,
        trio.open_nursery() as nursery,
    ):

        async def read() -> None:
            for at in range(0, 12 * MIB, 3 * MIB):
                assert await held.read("a.bin", at, 3 * MIB) == whole[at : at + 3 * MIB]

        nursery.start_soon(read)
        await until(lambda: fetch.progress.done >= 2 * MIB)
        receiver = reader.fetching.under_way[share].receiver
        assert receiver is not None
        if how == "cancelled":
            fetch.scope.cancel()
        else:
            receiver.fail(StorageError("the disk is full"))
    assert (fetch.failure is None) == (how == "cancelled")
    assert not reader.fetching.under_way
    again = Progress()
    await world.get(reader, published.link, progress=again)
    assert again.resumed >= 2 * MIB
    assert same_tree(published.path, world.out(reader) / "data")


async def test_a_fetch_that_is_done_hands_its_readers_over_to_the_library(
    world: World, origin: Node, reader: Node
) -> None:
    published = await world.publish(origin, {"a.bin": MIB, "b.bin": MIB})
    async with using(reader, published.link.share_id) as held:
        async with getting(world, reader, published, keep_serving=True):
            assert await held.read("b.bin", 5, 5) == truth(published, "b.bin", 5, 5)
            assert isinstance(held.parts, Alongside)
        await world.stop("origin")
        assert await held.read("a.bin", 5, 5) == truth(published, "a.bin", 5, 5)
        assert held.is_here


async def test_a_fetch_that_gets_nothing_makes_its_readers_wait_only_so_long(
    world: World, origin: Node, reader: Node
) -> None:
    published = await world.publish(origin, {"a.bin": 12 * MIB})
    reader.open_shares.patience_s = 0.3
    async with (
        getting(world, reader, published, sequential=True) as fetch,
        using(reader, published.link.share_id) as held,
    ):
        await held.layout()
        await world.stop("origin")
        with pytest.raises(NotFound, match="Nobody had the input"):
            await held.read("a.bin", 11 * MIB, 5)
        assert held.starved_s == 0
        fetch.scope.cancel()


async def test_a_reader_may_come_before_the_list_of_files(world: World, reader: Node, tmp_path: Path) -> None:
    other = await world.peer("other")
    published = await world.publish(other, {"a.bin": MIB})
    share = published.link.share_id
    async with trio.open_nursery() as nursery:
        # The fetch knows of nobody; the reader does, and tells it.
        nursery.start_soon(partial(world.get, reader, share, keep_serving=True))
        await until(lambda: reader.fetching.under_way)
        async with using(reader, share, [published.hint]) as held:
            assert await held.read("a.bin", 5, 5) == truth(published, "a.bin", 5, 5)
    assert reader.traffic.bytes_downloaded == MIB
