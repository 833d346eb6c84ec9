"""Small files of a folder in one answer over HTTP: which ones come, what ends the answer, and what is refused."""

import pytest

from p2p import ids
from p2p.gateway import application, memory, together
from p2p.node import Node
from tests.network.gateway.asking import http_client
from tests.support.constants import Shorten
from tests.support.world import Published, World

SMALL = [f"s/{number:03}" for number in range(300)]
FILES = {name: 300 + number for number, name in enumerate(SMALL)} | {"s/100/below": 5, "s/large": 65_537, "s/z": 3}
del FILES["s/100"]  # a folder is in its place
SMALL.remove("s/100")


@pytest.fixture
async def peer(world: World) -> Node:
    return await world.peer("peer")


@pytest.fixture
async def published(world: World, peer: Node) -> Published:
    return await world.publish(peer, FILES)


def at(published: Published) -> str:
    return f"/s/{ids.to_text(published.link.share_id)}/s/"


def truth(published: Published, names: list[str]) -> bytes:
    return b"".join((published.path / name).read_bytes() for name in names)


async def test_the_next_files_come_in_the_order_of_the_list(peer: Node, published: Published) -> None:
    async with http_client(peer) as client:
        for after, count, names in (
            ("", 1, SMALL[:1]),
            ("", 3, SMALL[:3]),
            ("001", 200, SMALL[2:202]),
            ("", 10_000, SMALL[: together.MOST_FILES]),
            ("297", 10, SMALL[297:]),  # one that is not small ends it
            ("large", 10, ["s/z"]),
        ):
            found = await client.get(at(published), params={"count": str(count), "after": after})
            assert (found.status_code, found.content) == (200, truth(published, names))
            assert found.headers["content-type"] == "application/octet-stream"
            assert found.headers["content-disposition"] == "attachment"
            assert found.headers["x-content-type-options"] == "nosniff"
        for query, status in (("count=x", 400), ("count=", 400), ("count=-1", 400), ("count=0", 404)):
            assert (await client.get(f"{at(published)}?{query}")).status_code == status
        for after in ("299", "z"):
            assert (await client.get(at(published), params={"count": "2", "after": after})).status_code == 404
        assert (await client.head(at(published), params={"count": "2"})).headers["content-type"] == "application/json"


async def test_they_are_fetched_and_what_does_not_come_is_left_out(
    world: World, peer: Node, published: Published, shorten: Shorten
) -> None:
    shorten(application, "WAIT_S", 0.2)
    shorten(together, "REST_S", 0.1)
    reader = await world.peer("reader")
    async with http_client(reader) as client:
        params = {"count": "5", "peer": str(published.hint)}
        assert (await client.get(at(published), params=params)).content == truth(published, SMALL[:5])
        assert reader.traffic.bytes_downloaded == sum(FILES[name] for name in SMALL[:5])
        await world.stop("peer")
        found = await client.get(at(published), params={"count": "10", "after": "001"})
        assert found.content == truth(published, SMALL[2:5])
        assert (await client.get(at(published), params={"count": "10", "after": "004"})).status_code == 504


async def test_with_little_memory_fewer_come(peer: Node, published: Published, shorten: Shorten) -> None:
    shorten(memory, "MOST_BYTES", memory.LEAST_BYTES)
    async with http_client(peer) as client:
        found = await client.get(at(published), params={"count": "256"})
        whole = truth(published, SMALL)
        assert whole.startswith(found.content)
        assert 0 < len(found.content) <= memory.LEAST_BYTES < len(whole)
