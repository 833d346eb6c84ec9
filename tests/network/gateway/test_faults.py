"""Shares of others over HTTP, while something goes wrong: only right bytes are sent, and the peer lives on."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import trio

from p2p import ids
from p2p.control.client import ask
from p2p.control.protocol import Event, StatusRequest
from p2p.gateway import application
from p2p.node import Node
from tests.network.gateway.asking import http_client, say
from tests.store.conftest import small_disk as small_disk
from tests.support.constants import Shorten
from tests.support.world import Published, World

KIB, MIB = 1024, 1024 * 1024
SIZE = 24 * MIB


def at(published: Published, path: str) -> str:
    return f"/s/{ids.to_text(published.link.share_id)}/{path}?peer={published.hint}"


async def heard_of(client: httpx2.AsyncClient, url: str, midway: Callable[[], object]) -> bytes:
    """All that comes of a file, if something happens when it has begun."""
    heard = bytearray()
    try:
        with trio.fail_after(60):
            async with client.stream("GET", url) as answer:
                assert answer.status_code == 200
                pieces = answer.aiter_raw(KIB)
                heard += await anext(pieces)
                midway()
                async for piece in pieces:
                    heard += piece
    except httpx2.RemoteProtocolError:
        pass
    return bytes(heard)


async def is_alive(peer: Node) -> bool:
    async def ignore(_: Event) -> None:
        pass

    return bool((await ask(peer.home, StatusRequest(), ignore)).peer == ids.to_text(peer.peer_id))


@pytest.fixture
async def published(world: World) -> Published:
    return await world.publish(await world.peer("owner"), {"large.bin": SIZE, "small.txt": 10})


async def test_a_file_that_its_owner_changes_midway_ends_early(
    world: World, published: Published, shorten: Shorten
) -> None:
    shorten(application, "WAIT_S", 0.5)
    reader = await world.peer("reader", download_limit_bytes_per_s=8 * MIB)
    path = published.path / "large.bin"
    truth = path.read_bytes()
    async with http_client(reader) as client:
        heard = await heard_of(client, at(published, "large.bin"), lambda: path.write_bytes(bytes(SIZE)))
        assert len(heard) < SIZE
        assert truth.startswith(heard)
        told = await client.get(at(published, "large.bin"), headers={"range": f"bytes={SIZE - 1}-"})
        assert (told.status_code, told.text.startswith("Nobody ")) == (504, True)
    assert await is_alive(reader)


async def test_a_disk_that_is_full_midway_ends_an_answer_and_nothing_else(
    small_disk: Callable[[int], Path], world: World, published: Published
) -> None:
    disk = small_disk(48 * MIB)
    reader = await world.peer(f"{disk.name}/reader", download_limit_bytes_per_s=8 * MIB)
    truth = (published.path / "large.bin").read_bytes()
    filler = disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(MIB)):
                pass

    async with http_client(reader) as client:
        heard = await heard_of(client, at(published, "large.bin"), fill)
        assert len(heard) < SIZE
        assert truth.startswith(heard)
        told = await client.get(at(published, "large.bin"), headers={"range": f"bytes={SIZE - 1}-"})
        assert (told.status_code, " must stay free." in told.text) == (503, True)
        assert await is_alive(reader)
        filler.unlink()
        assert (await client.get(at(published, "large.bin"))).content == truth
    await world.stop(f"{disk.name}/reader")


async def test_a_client_that_asks_for_many_things_badly_gets_words_and_goes_on(
    world: World, published: Published
) -> None:
    reader = await world.peer("reader")
    url = at(published, "small.txt")
    bad = ["bytes=9-0", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-0,5-5", "bytes=" + "0-0," * 2000 + "0-0"]
    truth = (published.path / "small.txt").read_bytes()
    async with http_client(reader) as client:
        for span in bad:
            assert (await client.get(url, headers={"range": span})).content == truth
        assert (await client.get(url, headers={"range": "bytes=10-"})).status_code == 416
        assert (await client.get(url, headers={"range": "bytes=0-" + "9" * 5000})).content == truth
    asked = f"GET {url} HTTP/1.1\r\nhost: x\r\nrange: bytes=0-\0\r\n\r\n"
    assert (await say(reader, asked.encode())).startswith(b"HTTP/1.1 400 ")
