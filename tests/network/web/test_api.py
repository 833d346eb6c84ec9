"""The operations over HTTP: the same requests and answers as over the control socket, described by their types."""

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, get_args

import httpx2
import msgspec
import pytest
import trio

from p2p import ids
from p2p.concurrency.walls import bugs
from p2p.control import protocol
from p2p.control.answers import ShareRow
from p2p.control.path import socket_path
from p2p.control.protocol import Answer, AnyRequest, Failure, Piece, Update
from p2p.node import Node
from p2p.web import api, events
from p2p.web.api import API
from p2p.web.events import Feed
from tests.network.gateway.asking import PATIENCE_S, http_client, say
from tests.support.constants import Shorten
from tests.support.world import Published, World, asked, hint_of, until


@pytest.fixture
async def peer(world: World) -> Node:
    return await world.peer("peer")


@pytest.fixture
async def published(world: World, peer: Node) -> Published:
    return await world.publish(peer, {"a.txt": 1000, "b/c.bin": 300_000})


@pytest.fixture
async def client(peer: Node) -> AsyncIterator[httpx2.AsyncClient]:
    async with http_client(peer) as opened:
        yield opened


def lines(answer: httpx2.Response) -> list[protocol.Event]:
    assert answer.headers["content-type"] == api.LINES
    return [protocol.decode_event(line) for line in answer.content.splitlines()]


async def test_the_answers_are_those_of_the_control_socket(
    peer: Node, published: Published, client: httpx2.AsyncClient
) -> None:
    same = msgspec.json.decode(msgspec.json.encode(await asked(peer, protocol.SharesRequest())))
    answer = await client.get(f"{API}shares")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert [{**row, "age_s": 0} for row in answer.json()] == [{**row, "age_s": 0} for row in same]
    assert msgspec.convert(answer.json(), list[ShareRow])
    status = (await client.get(f"{API}status")).json()
    assert (status["peer"], status["shares"]) == (ids.to_text(peer.peer_id), 1)
    link = str(published.link)
    listed = (await client.get(f"{API}ls", params={"link": link, "path": "b", "peers": ["127.0.0.1:9"]})).json()
    assert [row["name"] for row in listed["rows"]] == ["c.bin"]
    share = ids.to_text(published.link.share_id)
    gone = await client.post(f"{API}unshare", json={"id": share})
    assert gone.json() == {"id": share, "name": "data"}
    assert (await client.get(f"{API}shares")).json() == []


async def test_a_share_is_made_and_fetched_over_http(world: World, peer: Node, published: Published) -> None:
    reader = await world.peer("reader")
    request = {"link": str(published.link), "out": str(world.out(reader)), "peers": [str(published.hint)]}
    async with http_client(reader) as client:
        told = lines(await client.post(f"{API}get", json=request, headers={"accept": api.LINES}))
        assert isinstance(told[-1], Answer)
        assert told[-1].value["bytes"] == 301_000
        assert any(isinstance(event, Update) for event in told[:-1])
        again = await client.post(f"{API}get", json=request | {"out": str(world.folder)})
        assert again.json()["bytes"] == 301_000
    async with await trio.open_unix_socket(str(socket_path(reader.home))) as stream:
        listening = Listening(stream)
        await listening.ask("?topic=fetches")
        name, heard = await listening.next()
        assert (name, {row["state"] for row in heard["rows"]}) == ("fetches", {"done"})


async def test_what_comes_before_the_answer_comes_as_lines(published: Published, client: httpx2.AsyncClient) -> None:
    told = lines(await client.get(f"{API}cat", params={"link": str(published.link), "path": "b/c.bin"}))
    content = b"".join(event.data for event in told if isinstance(event, Piece))
    assert content == (published.path / "b" / "c.bin").read_bytes()
    wrong = lines(await client.get(f"{API}cat", params={"link": str(published.link), "path": "none"}))
    assert isinstance(wrong[-1], Failure)


@pytest.mark.parametrize(
    ("method", "name", "content", "status"),
    [
        ("GET", "nothing", b"", 404),
        ("GET", "", b"", 404),
        ("GET", "share", b"", 405),
        ("POST", "shares", b"{}", 405),
        ("POST", "openapi.json", b"", 405),
        ("DELETE", "events", b"", 405),
        ("GET", "ls", b"", 400),
        ("GET", "ls?link=nonsense", b"", 400),
        ("GET", "shares?more=1", b"", 400),
        ("GET", "shares?version=1", b"", 400),
        ("GET", "logs?id=a&unit=1&unit=x&unit=3", b"", 400),
        ("GET", "result?id=none", b"", 400),
        ("GET", "events?topic=weather", b"", 400),
        ("POST", "unshare", b"", 400),
        ("POST", "unshare", b"[]", 400),
        ("POST", "unshare", b"\xff", 400),
        ("POST", "unshare", b"[" * 100_000, 400),
        ("POST", "unshare", b'{"id": 1}', 400),
        ("POST", "unshare", b'{"id": "none"}', 404),
        ("POST", "unshare", b'{"id": "a", "do": "share"}', 400),
        ("POST", "share", b'{"paths": ["relative"]}', 400),
        ("POST", "unshare", b" " * (protocol.MAX_LINE_BYTES + 1), 413),
    ],
)
async def test_what_makes_no_sense_is_told_with_a_status(
    client: httpx2.AsyncClient, method: str, name: str, content: bytes, status: int
) -> None:
    answer = await client.request(method, f"{API}{name}", content=content)
    assert answer.status_code == status, answer.text
    failure = msgspec.json.decode(answer.content, type=Failure)
    assert failure.text
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_client_that_goes_away_cancels_its_request(peer: Node) -> None:
    for more in (b"", b"accept: application/jsonl\r\n"):
        async with await trio.open_unix_socket(str(socket_path(peer.home))) as stream:
            await stream.send_all(b"GET /api/v1/hold HTTP/1.1\r\nhost: x\r\n" + more + b"\r\n")
            await until(lambda: peer.activity.is_busy)
        await until(lambda: not peer.activity.is_busy)
    heard = await say(peer, b"GET /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 200 ")


async def test_every_operation_is_described_by_its_types(client: httpx2.AsyncClient) -> None:
    document = (await client.get(f"{API}openapi.json")).json()
    kinds: dict[str, Any] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyRequest)}
    assert set(document["paths"]) == {f"{API}{name}" for name in [*kinds, "events"]}
    for name, kind in kinds.items():
        ((method, described),) = document["paths"][f"{API}{name}"].items()
        assert method == ("get" if kind.is_question else "post")
        assert described["summary"]
        fields = {field.name for field in msgspec.structs.fields(kind)}
        if kind.is_question:
            assert {one["name"] for one in described["parameters"]} == fields
        else:
            (schema,) = described["requestBody"]["content"].values()
            assert schema["schema"]["$ref"].endswith(f"/{kind.__name__}")
            assert set(document["components"]["schemas"][kind.__name__]["properties"]) == fields
    text = json.dumps(document)
    references = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references == set(document["components"]["schemas"])


async def test_figures_are_for_prometheus(client: httpx2.AsyncClient, published: Published) -> None:
    await client.get(f"/s/{ids.to_text(published.link.share_id)}/")
    await client.get(f"{API}status")
    await client.get("/<script>")
    text = (await client.get("/metrics")).text
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert (found["shoal_peer_shares"], found["shoal_peer_shared_bytes"]) == ("1", "301000")
    assert found["shoal_peer_uploaded_bytes_total"] == "0"
    assert found['shoal_peer_requests_total{route="/s/",status="200"}'] == "1.0"
    assert found['shoal_peer_requests_total{route="/api/v1/status",status="200"}'] == "1.0"
    assert found['shoal_peer_requests_total{route="none",status="404"}'] == "1.0"


class Listening:
    """A client that listens to events."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._heard = b""

    async def ask(self, query: str = "") -> None:
        await self._stream.send_all(f"GET {API}events{query} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert b"200" in await self._line()

    async def next(self) -> tuple[str, Any]:
        """The next event: its name, and what it tells."""
        name = ""
        while True:
            with trio.fail_after(PATIENCE_S):
                line = await self._line()
            key, _, value = line.decode().partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                told = json.loads(value)
                assert told["event"] == name
                return name, told

    async def _line(self) -> bytes:
        while b"\n" not in self._heard:
            some = await self._stream.receive_some()
            assert some, "the answer ended"
            self._heard += some
        line, _, self._heard = self._heard.partition(b"\n")
        return line.strip()


async def test_what_changes_is_told(
    world: World, peer: Node, published: Published, client: httpx2.AsyncClient, shorten: Shorten
) -> None:
    shorten(events, "INTERVAL_S", 0.02)
    async with await trio.open_unix_socket(str(socket_path(peer.home))) as stream:
        listening = Listening(stream)
        await listening.ask()
        first = dict([await listening.next() for _ in events.NAMES])
        assert set(first) == set(events.NAMES)
        assert [row["name"] for row in first["shares"]["rows"]] == ["data"]
        assert [row["id"] for row in first["transfers"]["rows"]] == ["all"]
        more = await world.publish(peer, {"x": 2_000_000}, "more")
        name, told = await listening.next()
        assert (name, told["rows"][0]["id"], told["gone"]) == ("shares", ids.to_text(more.link.share_id), [])
        await peer.sharing.unshare(published.link.share_id)
        name, told = await listening.next()
        assert (name, told["rows"], told["gone"]) == ("shares", [], [ids.to_text(published.link.share_id)])
    async with await trio.open_unix_socket(str(socket_path(peer.home))) as stream:
        listening = Listening(stream)
        await listening.ask("?topic=peers")
        assert await listening.next() == ("peers", {"event": "peers", "gone": [], "rows": []})
        reader = await world.peer("reader")
        async with trio.open_nursery() as nursery:
            slowly = partial(world.get, limit_bytes_per_s=50_000)
            nursery.start_soon(slowly, reader, more.link, [hint_of(peer)])
            name, told = await listening.next()
            nursery.cancel_scope.cancel()
        assert told["rows"][0]["peer"] == ids.to_text(reader.peer_id)


async def test_an_error_of_our_own_ends_no_stream(
    world: World,
    peer: Node,
    shorten: Shorten,
    monkeypatch: pytest.MonkeyPatch,
    expects_bugs: Callable[[int], None],
) -> None:
    shorten(events, "INTERVAL_S", 0.02)
    async with await trio.open_unix_socket(str(socket_path(peer.home))) as stream:
        listening = Listening(stream)
        await listening.ask("?topic=shares&topic=transfers")
        assert {(await listening.next())[0] for _ in range(2)} == {"shares", "transfers"}
        before = bugs.count
        with monkeypatch.context() as patch:
            patch.setattr(events, "_row", None)
            await until(lambda: bugs.count > before)
        await world.publish(peer, {"x": 1})
        name, told = await listening.next()
        assert (name, told["rows"][0]["name"]) == ("shares", "data")
    expects_bugs(bugs.count - before)


async def test_a_listener_that_reads_too_slowly_is_told_that_it_missed_some(
    world: World, peer: Node, shorten: Shorten
) -> None:
    shorten(events, "MAX_WAITING", 2)
    shorten(events, "INTERVAL_S", 0.01)

    performed: list[AnyRequest] = []

    async def perform(request: AnyRequest, emit: protocol.Emit) -> Any:
        performed.append(request)
        return await peer.operations.perform(request, emit, keep_serving=True)

    feed = Feed(perform, peer.changes, peer.swarms, peer.traffic)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        slow, quick = feed.listen(["shares"]), feed.listen(["shares"])
        for heard in (slow, quick):
            assert b'"rows":[]' in await anext(heard)
        for number in range(5):
            await world.publish(peer, {"x": number}, f"{number}")
            assert b'"link"' in await anext(quick)
        assert await anext(slow) == b'event: missed\ndata: {"event":"missed","events":5}\n\n'
        assert (await anext(slow)).count(b'"link"') == 5
        assert set(performed) == {protocol.SharesRequest()}, "nobody listens to anything else"
        for heard in (slow, quick):
            await heard.aclose()
        nursery.cancel_scope.cancel()
