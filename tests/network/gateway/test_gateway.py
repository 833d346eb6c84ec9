"""Shares over HTTP on the control socket: files, ranges, listings, and what is wrong told in words."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from starlette.responses import Response

from p2p import ids
from p2p.control.client import ask
from p2p.control.path import socket_path
from p2p.control.protocol import Event, StatusRequest
from p2p.gateway import application, files
from p2p.net.http_server import stream as streams
from p2p.node import Node
from p2p.sharing.reading import folder
from tests.network.gateway.asking import http_client, say
from tests.support.constants import Shorten
from tests.support.world import Published, World, asked, until

KIB, MIB = 1024, 1024 * 1024
CROWD = 200
CLOSE = "connection: close\r\n\r\n"
FILES = {"large.bin": 5 * MIB + 7, "a/b/small.txt": 1000, "a/empty.png": 0, "a/<b>&\u200f.html": 10}


@pytest.fixture
async def peer(world: World) -> Node:
    return await world.peer("peer")


@pytest.fixture
async def published(world: World, peer: Node) -> Published:
    return await world.publish(peer, FILES)


@pytest.fixture
async def client(peer: Node) -> AsyncIterator[httpx2.AsyncClient]:
    async with http_client(peer) as opened:
        yield opened


def at(published: Published, path: str = "") -> str:
    return f"/s/{ids.to_text(published.link.share_id)}/{path}"


async def test_a_file_is_sent_whole_or_by_range_or_not_at_all(client: httpx2.AsyncClient, published: Published) -> None:
    truth = (published.path / "large.bin").read_bytes()
    url = at(published, "large.bin")
    whole = await client.get(url)
    assert (whole.status_code, whole.content) == (200, truth)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''large.bin"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    tag = whole.headers["etag"]
    for span, begin, end in (("0-0", 0, 1), ("100-", 100, len(truth)), ("-9", len(truth) - 9, len(truth))):
        part = await client.get(url, headers={"range": f"bytes={span}", "if-range": tag})
        assert (part.status_code, part.content) == (206, truth[begin:end])
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(truth)}"
    assert (await client.get(url, headers={"range": "bytes=0-0", "if-range": '"other"'})).content == truth
    assert (await client.get(url, headers={"range": "bytes=0-0,2-2"})).content == truth
    beyond = await client.get(url, headers={"range": f"bytes={len(truth)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(truth)}")
    known = await client.get(url, headers={"if-none-match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    head = await client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(truth)))
    head = await client.head(url, headers={"range": "bytes=0-0"})  # ranges are for GET alone
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(truth)))
    empty = await client.get(at(published, "a/empty.png"))
    assert (empty.status_code, empty.content, empty.headers["content-type"]) == (200, b"", "image/png")


async def test_one_connection_serves_request_after_request(peer: Node, published: Published) -> None:
    request = f"GET {at(published, 'a/b/small.txt')} HTTP/1.1\r\nhost: x\r\nrange: bytes=0-4\r\n\r\n".encode()
    async with await trio.open_unix_socket(socket_path(peer.home)) as stream:
        for _ in range(3):
            await stream.send_all(request)
            heard = b""
            while not heard.partition(b"\r\n\r\n")[2][4:]:
                some = await stream.receive_some()
                assert some, heard
                heard += some
            assert heard.startswith(b"HTTP/1.1 206")
    last = request.replace(b"host: x", b"host: x\r\nconnection: close")
    assert (await say(peer, 2 * request + last)).count(b"HTTP/1.1 206") == 3  # also if they come at once


async def test_folders_are_listed_from_the_manifest(client: httpx2.AsyncClient, published: Published) -> None:
    listing = (await client.get(at(published))).json()
    assert [(row["name"], row["kind"], row["size"]) for row in listing["rows"]] == [
        ("a", "folder", None),
        ("large.bin", "file", FILES["large.bin"]),
    ]
    tag = (await client.head(at(published, "large.bin"))).headers["etag"]
    assert f'"{listing["rows"][1]["id"]}"' == tag
    for path in ("a", "a/"):
        assert [row["name"] for row in (await client.get(at(published, path))).json()["rows"]] == [
            "<b>&\u200f.html",
            "b",
            "empty.png",
        ]
    page = await client.get(at(published, "a/"), headers={"accept": "text/html"})
    assert "&lt;b&gt;&amp;\ufffd.html" in page.text
    assert "<b>" not in page.text
    assert 'href="./%3Cb%3E%26%E2%80%8F.html"' in page.text
    saved = await client.get(at(published, "a/%3Cb%3E%26%E2%80%8F.html"), headers={"accept": "text/html"})
    assert saved.headers["content-disposition"].startswith("attachment; ")
    moved = await client.get(at(published, "a?peer=127.0.0.1:9"), headers={"accept": "text/html"})
    assert (moved.status_code, moved.headers["location"]) == (308, at(published, "a/?peer=127.0.0.1:9"))


async def test_a_long_folder_is_listed_in_parts(
    world: World, peer: Node, client: httpx2.AsyncClient, shorten: Shorten
) -> None:
    shorten(folder, "MAX_LISTED", 2)
    published = await world.publish(peer, {f"{number}": 1 for number in range(5)}, "many")
    found, after = [], ""
    while after is not None:
        listing = (await client.get(at(published), params={"after": after})).json()
        found += [row["name"] for row in listing["rows"]]
        after = listing["after"]
    assert found == list("01234")
    page = await client.get(at(published), headers={"accept": "text/html"})
    assert 'href="?after=1"' in page.text


async def test_ranges_of_a_share_of_others_fetch_no_more_than_they_need(world: World, published: Published) -> None:
    reader = await world.peer("reader")
    truth = (published.path / "large.bin").read_bytes()
    async with http_client(reader) as client:
        url = at(published, f"large.bin?peer={published.hint}")
        part = await client.get(url, headers={"range": "bytes=1000000-1000099"})
        assert (part.status_code, part.content) == (206, truth[1000000:1000100])
        assert reader.traffic.bytes_downloaded <= 256 * KIB
        assert (await client.get(at(published, "large.bin"))).content == truth  # where it is, is remembered for a while


async def test_a_name_leads_to_the_newest_share(world: World, peer: Node, published: Published) -> None:
    await peer.discovery.mutable_links.point("news", published.link.share_id)
    reader = await world.peer("reader")
    async with http_client(reader) as client:
        url = f"/n/{ids.to_text(peer.peer_id)}/news/a/b/small.txt"
        found = await client.get(url, params={"peer": str(published.hint)}, follow_redirects=False)
        assert (found.status_code, found.headers["cache-control"]) == (302, "no-store")
        assert found.headers["location"].startswith(at(published, "a/b/small.txt"))
        # What the publisher told is remembered, and not needed again.
        assert (await client.get(at(published, "a/b/small.txt"))).status_code == 200


async def test_what_nobody_has_is_told_with_the_reason(
    client: httpx2.AsyncClient, peer: Node, shorten: Shorten
) -> None:
    shorten(application, "WAIT_S", 0.1)
    nowhere = ids.to_text(os.urandom(32))
    for url in (f"/s/{nowhere}/a", f"/n/{nowhere}/news/"):
        told = await client.get(url)
        assert told.status_code == 504
        assert told.text.startswith("Nobody ")
        page = await client.get(url, headers={"accept": "text/html"})
        assert (page.status_code, page.headers["content-type"]) == (504, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/s", 404),
        ("/s/", 400),
        ("/s/xyz/a", 400),
        ("{}nothing", 404),
        ("{}a/nothing", 404),
        ("{}large.bin/", 404),
        ("{}large.bin/x", 404),
        ("{}../a", 404),
        ("{}%2e%2e/a", 404),
        ("{}a%2Fb", 404),
        ("{}%00", 404),
        ("{}%ff", 400),
        ("{}//etc/passwd", 404),
        ("{}?peer=nonsense", 400),
        ("/n/x/y/", 400),
        ("http://other/s/", 404),
        ("*", 404),
    ],
)
async def test_an_address_that_leads_nowhere_is_refused(
    peer: Node, published: Published, path: str, status: int
) -> None:
    heard = await say(peer, f"GET {path.format(at(published))} HTTP/1.1\r\nhost: x\r\n{CLOSE}".encode())
    assert heard.startswith(f"HTTP/1.1 {status} ".encode()), heard


async def test_a_command_is_heard_between_the_ranges_that_many_ask_for(
    peer: Node, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ignore(_: Event) -> None:
        pass

    answers = 0
    answer = files.Files.answer

    async def counted(self: files.Files, *arguments: Any) -> Response:
        nonlocal answers
        answers += 1
        return await answer(self, *arguments)

    monkeypatch.setattr(files.Files, "answer", counted)
    request = f"GET {at(published, 'large.bin')} HTTP/1.1\r\nhost: x\r\nrange: bytes=0-9\r\n\r\n".encode()
    async with AsyncExitStack() as crowd:
        asking = [
            await crowd.enter_async_context(await trio.open_unix_socket(socket_path(peer.home))) for _ in range(CROWD)
        ]
        for stream in asking:
            await stream.send_all(request)
        await until(lambda: answers > 0)
        before = answers
        await ask(peer.home, StatusRequest(), ignore)
        assert answers - before < CROWD / 8
        for stream in asking:
            await stream.receive_some(1)


async def test_hostile_words_end_their_connection_and_nothing_else(peer: Node, published: Published) -> None:
    start = f"GET {at(published, 'large.bin')} HTTP/1.1\r\nhost: x\r\n"
    for words in (
        b"\0" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b" {}\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"{start}x: {'y' * 100_000}\r\n\r\n".encode(),
        f"{start}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n".encode(),
        f"{start}content-length: 99999999999\r\n\r\nbody".encode(),
        f"{start}upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\r\n".encode(),
    ):
        heard = await say(peer, words, hangs_up=True)
        assert b" 200 " not in heard[:20], words
    refused = await say(peer, start.replace("GET", "POST").encode() + f"content-length: 0\r\n{CLOSE}".encode())
    assert refused.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET, HEAD" in refused
    async with http_client(peer) as client:
        many = ",".join(f"{number}-{number}" for number in range(1000))
        assert (await client.get(at(published, "large.bin"), headers={"range": f"bytes={many}"})).status_code == 200
    await asked(peer, StatusRequest())
    await until(lambda: not peer.activity.is_busy)


async def test_a_file_that_disappears_midway_ends_the_answer_early(
    peer: Node, published: Published, shorten: Shorten
) -> None:
    shorten(application, "WAIT_S", 0.1)
    path = published.path / "large.bin"
    async with http_client(peer) as client, client.stream("GET", at(published, "large.bin")) as answer:
        pieces = answer.aiter_raw(KIB)
        await anext(pieces)
        await peer.sharing.unshare(published.link.share_id)
        path.unlink()
        with pytest.raises(httpx2.RemoteProtocolError), trio.fail_after(30):
            async for _ in pieces:
                pass
        assert (await client.get("/")).status_code == 404


@pytest.mark.parametrize("is_replaced", [True, False])
async def test_a_file_that_its_owner_changes_midway_is_not_sent_any_more(
    world: World, peer: Node, published: Published, shorten: Shorten, is_replaced: bool
) -> None:
    shorten(application, "WAIT_S", 0.1)
    path, url = published.path / "large.bin", at(published, "large.bin")
    truth = path.read_bytes()
    async with http_client(peer) as client:
        for _ in range(2):
            assert (await client.get(url)).content == truth
        async with client.stream("GET", url) as answer:
            pieces = answer.aiter_raw(KIB)
            heard = await anext(pieces)
            changed = path.with_name("new") if is_replaced else path
            changed.write_bytes(bytes(len(truth)))
            changed.replace(path)
            try:
                with trio.fail_after(30):
                    async for piece in pieces:
                        heard += piece
            except httpx2.RemoteProtocolError:
                pass
        assert len(heard) < len(truth)
        assert truth.startswith(heard)
        assert (await client.get(url, headers={"range": "bytes=0-9"})).status_code == 504


async def test_a_client_that_takes_nothing_is_hung_up_on(peer: Node, published: Published, shorten: Shorten) -> None:
    shorten(streams, "STALLED_S", 0.1)
    async with await trio.open_unix_socket(socket_path(peer.home)) as stream:
        await stream.send_all(f"GET {at(published, 'large.bin')} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await until(lambda: peer.activity.is_busy)
        await until(lambda: not peer.activity.is_busy)


async def test_a_peer_ends_though_a_client_takes_nothing(world: World, published: Published) -> None:
    peer = published.origin
    async with await trio.open_unix_socket(socket_path(peer.home)) as stream:
        await stream.send_all(f"GET {at(published, 'large.bin')} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await stream.receive_some(1)
        with trio.fail_after(streams.STALLED_S / 2):
            await world.stop("peer")


async def test_an_answer_ends_when_its_client_goes(world: World, peer: Node, tmp_path: Path) -> None:
    async with await trio.open_unix_socket(socket_path(peer.home)) as stream:
        await stream.send_all(f"GET /s/{ids.to_text(os.urandom(32))}/a HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await until(lambda: peer.activity.is_busy)
    with trio.fail_after(application.WAIT_S / 2):
        await until(lambda: not peer.activity.is_busy)


async def test_an_error_of_our_own_ends_its_answer_and_nothing_else(
    peer: Node, published: Published, expects_bugs: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_client(peer) as client:
        with monkeypatch.context() as patch:
            patch.setattr(files.Files, "answer", None)
            assert (await client.get(at(published, "large.bin"))).status_code == 500
        assert (await client.get(at(published, "large.bin"))).status_code == 200
    await until(lambda: not peer.activity.is_busy)
    expects_bugs(1)
