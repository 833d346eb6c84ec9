"""A share that enters the library while it is read or fetched: all go on with the copy that is there."""

import pytest
import trio

from p2p import ids
from p2p.gateway import application
from p2p.node import Node
from p2p.progress import Progress
from tests.network.gateway.asking import http_client
from tests.support.constants import Shorten
from tests.support.world import Published, World, bare, same_tree, until, using

MIB = 1024 * 1024
FILES = {"a.bin": 2 * MIB, "sub/b.bin": MIB}


@pytest.fixture
async def reader(world: World) -> Node:
    return await world.peer("reader")


@pytest.fixture
async def absent(world: World) -> Published:
    """A share whose origin has gone, so that nobody has it."""
    published = await world.publish(await world.peer("origin"), FILES)
    await world.stop("origin")
    return published


def truth(published: Published, path: str) -> bytes:
    return (published.path / path).read_bytes()


async def test_what_nobody_had_is_answered_once_this_peer_shares_it(
    world: World, reader: Node, absent: Published, shorten: Shorten
) -> None:
    shorten(application, "WAIT_S", 0.1)
    url = f"/s/{ids.to_text(absent.link.share_id)}/a.bin"
    async with http_client(reader) as client:
        assert (await client.get(url)).status_code == 504
        await world.publish_path(reader, absent.path)
        assert (await client.get(url)).content == truth(absent, "a.bin")


async def test_whoever_waits_for_a_share_reads_it_once_this_peer_shares_it(
    world: World, reader: Node, absent: Published
) -> None:
    async with using(reader, absent.link.share_id) as held, trio.open_nursery() as nursery:

        async def read() -> None:
            assert await held.read("a.bin", MIB, MIB) == truth(absent, "a.bin")[MIB:]
            assert held.is_here

        nursery.start_soon(read)
        await until(lambda: held.starved_s)
        await world.publish_path(reader, absent.path)


async def test_what_is_missing_of_a_share_that_is_read_comes_from_this_peers_own(world: World, reader: Node) -> None:
    published = await world.publish(await world.peer("origin"), FILES)
    async with using(reader, published.link.share_id, [published.hint]) as held, trio.open_nursery() as nursery:
        assert await held.read("a.bin", 0, 5) == truth(published, "a.bin")[:5]
        await world.stop("origin")

        async def read() -> None:
            assert await held.read("sub/b.bin", 0, MIB) == truth(published, "sub/b.bin")

        nursery.start_soon(read)
        await until(lambda: held.starved_s)
        await world.publish_path(reader, published.path)


async def test_a_job_waits_no_longer_for_an_input_that_this_peer_shares(
    world: World, reader: Node, absent: Published
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.fetching.fetch_manifest, bare(absent.link), None)
        await until(lambda: reader.fetching._manifests)
        await world.publish_path(reader, absent.path)
    assert not reader.fetching._manifests


@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_fetch_that_waits_gets_what_this_peer_shares(world: World, reader: Node, is_begun: bool) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=MIB)
    published, progress = await world.publish(origin, FILES), Progress()
    if not is_begun:
        await world.stop("origin")
    async with trio.open_nursery() as nursery:

        async def get() -> None:
            link = published.link if is_begun else bare(published.link)
            await world.get(reader, link, progress=progress, keep_serving=True)

        nursery.start_soon(get)
        if is_begun:
            await until(lambda: progress.done)
            await world.stop("origin")
        await until(lambda: reader.fetching.under_way)
        await world.publish_path(reader, published.path)
    assert same_tree(published.path, world.out(reader) / "data")
    (row,) = reader.library.shares()
    assert row.paths == (str(published.path),)
    assert not row.fetched
