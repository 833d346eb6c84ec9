"""The tracker over real sockets: what it answers to friends, and that no stranger can wedge or end it."""

import base64
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import trio

from p2p.identity import Identity
from p2p.ids import to_text
from p2p.net.http_server import bodies, connections, guard
from p2p.wire import tracker as wire
from p2p.wire.address import Address
from p2p.wire.signatures import Purpose, to_sign
from p2p.wire.tracker import (
    Announce,
    Announced,
    Capacity,
    PeerView,
    Problem,
    SearchAnswer,
    ShareView,
    SourcesAnswer,
    Statistics,
    VolunteersAnswer,
    sign_announce,
)
from tests.support.announces import NETWORK, key, listing, provided, share
from tests.support.constants import Shorten
from tracker.app import API, OPERATIONS
from tracker.limits import Limits
from tracker.proxies import NO_PROXIES, Proxies
from tracker.server import Tracker, open_tracker

Start = Callable[..., Awaitable["Site"]]

NASTY = (
    '"',
    "' OR 1=1 --",
    '") OR words MATCH ("a',
    "a* AND NEAR(b c, 2)",
    "name : a",
    "^a + b - c NOT d",
    "%_[]{}()*?",
    "\x00\x01\x1b[2J",
    "\ud7ff\uffff\U0010ffff",
    "; DROP TABLE peers",
    "../../etc/passwd",
    "<script>",
)


class Site:
    """A running tracker and a client of it."""

    def __init__(self, running: Tracker, client: httpx2.AsyncClient) -> None:
        self.running = running
        self.client = client
        self.port = running.addresses[0].port
        self._sequences: dict[Identity, int] = {}

    async def get(self, path: str, status: int = 200, **query: Any) -> httpx2.Response:
        answer = await self.client.get(API + path, params=query)
        assert answer.status_code == status, answer.text
        if status != 200:
            assert msgspec.json.decode(answer.content, type=Problem).error
        return answer

    async def read(self, answer: type[Any], path: str, **query: Any) -> Any:
        return msgspec.json.decode((await self.get(path, **query)).content, type=answer)

    async def announce(self, identity: Identity, *, tracker: str = "", **said: Any) -> httpx2.Response:
        sequence = self._sequences.get(identity, 0) + 1
        usual: dict[str, Any] = {"sequence": sequence, "previous": sequence - 1, "reset": sequence == 1}
        announce = Announce(tracker or self.running.url, NETWORK, **usual | said)
        body, headers = sign_announce(announce, identity)
        answer = await self.post(body, headers)
        if answer.status_code == 200:
            self._sequences[identity] = sequence
        return answer

    async def post(self, body: Any, headers: dict[str, str]) -> httpx2.Response:
        return await self.client.post(f"{API}/announce", content=body, headers=headers)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@pytest.fixture(autouse=True)
def nothing_went_wrong(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A fault of ours would be answered with 500 and logged; what strangers do is no fault of ours."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
async def start(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Start]:
    stop = trio.Event()
    stopped: list[trio.Event] = []

    async def run(
        ended: trio.Event,
        *,
        url: str | None,
        proxies: Proxies,
        task_status: trio.TaskStatus[Site],
        **limits: Any,
    ) -> None:
        home = tmp_path / "tracker"
        home.mkdir()
        listen = [Address("127.0.0.1", 0)]
        async with (
            open_tracker(
                tmp_path / "t.db", home, listen, network=NETWORK, url=url, proxies=proxies, limits=Limits(**limits)
            ) as running,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.addresses[0].port}", trust_env=False) as client,
        ):
            task_status.started(Site(running, client))
            await stop.wait()
        ended.set()

    async def start(*, url: str | None = None, proxies: Proxies = NO_PROXIES, **limits: Any) -> Site:
        stopped.append(trio.Event())
        site: Site = await nursery.start(partial(run, stopped[-1], url=url, proxies=proxies, **limits))
        return site

    yield start
    stop.set()
    for ended in stopped:
        await ended.wait()


@pytest.fixture
async def site(start: Start) -> Site:
    return await start()


def problem(answer: httpx2.Response) -> Problem:
    return msgspec.json.decode(answer.content, type=Problem)


async def test_everything_can_be_asked(site: Site) -> None:
    me = Identity.generate()
    answer = await site.announce(
        me,
        add=(listing(1, "Sea and shore", "sea/gulls.flac", "sea/waves.flac"), listing(2, "Other.zip", size=5)),
        provide=(provided(3, whole=False),),
        capacity=Capacity(("wasm",), 8, 1 << 30, load=0.5),
    )
    announced = msgspec.json.decode(answer.content, type=Announced)
    assert (announced.shares, announced.seen_host, announced.dialable) == (3, "127.0.0.1", False)
    found: SearchAnswer = await site.read(SearchAnswer, "/search", q="waves", kind="audio", min_size="1", cursor="")
    assert [(one.name, one.matched, one.files) for one in found.results] == [("Sea and shore", "sea/waves.flac", 2)]
    assert (await site.read(SearchAnswer, "/search", q="waves", kind="video")).results == ()
    view: ShareView = await site.read(ShareView, f"/shares/{to_text(share(1))}")
    assert [content.path for content in view.contents] == ["sea/gulls.flac", "sea/waves.flac"]
    told: SourcesAnswer = await site.read(SourcesAnswer, f"/sources/{key(3)}")
    assert [(source.peer, source.whole) for source in told.sources] == [(to_text(me.peer_id), False)]
    peer: PeerView = await site.read(PeerView, f"/peers/{to_text(me.peer_id)}", limit=1)
    assert (peer.total, len(peer.shares), peer.capacity) == (2, 1, Capacity(("wasm",), 8, 1 << 30, load=0.5))
    rest: PeerView = await site.read(PeerView, f"/peers/{to_text(me.peer_id)}", cursor=peer.cursor)
    assert [one.name for one in (*peer.shares, *rest.shares)] == ["Other.zip", "Sea and shore"]
    offers: VolunteersAnswer = await site.read(VolunteersAnswer, "/volunteers", runtime="wasm", cores=8, memory=1)
    assert offers.total == len(offers.volunteers) == 1
    statistics: Statistics = await site.read(Statistics, "/statistics", hours=0.5)
    assert statistics.now.peers <= 1


async def test_what_is_not_there(site: Site) -> None:
    for path in (f"/shares/{to_text(share(1))}", f"/peers/{to_text(share(1))}", "/shares/x", "/peers/%00", "/nothing"):
        await site.get(path, 404)
    assert (await site.read(SourcesAnswer, f"/sources/{key(1)}")).sources == ()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/search", {"limit": "0"}),
        ("/search", {"limit": "201"}),
        ("/search", {"limit": "9" * 5000}),
        ("/search", {"kind": "nonsense"}),
        ("/search", {"min_size": "-1"}),
        ("/search", {"max_size": "1e400"}),
        ("/search", {"q": "x" * 501}),
        ("/search", {"cursor": "forged"}),
        ("/search", {"cursor": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
        ("/search", {"cursor": "x" * 1000}),
        ("/volunteers", {"cores": "many"}),
        ("/volunteers", {"cursor": "AAAA"}),
        ("/statistics", {"hours": "nan"}),
        ("/statistics", {"hours": "inf"}),
        ("/statistics", {"hours": "-1"}),
        ("/sources/not-a-key", {}),
        ("/sources/" + "1" * 32, {}),
    ],
)
async def test_nonsense_is_a_problem_in_words(site: Site, path: str, query: dict[str, str]) -> None:
    await site.get(path, 400, **query)


async def test_no_text_is_ever_syntax(site: Site) -> None:
    me = Identity.generate()
    add = tuple(listing(number, text, f"folder/{text}") for number, text in enumerate(NASTY))
    capacity = Capacity(NASTY[:8], 1, 1, gpu=NASTY[0], policy=NASTY[1])
    answer = await site.announce(me, add=add, capacity=capacity)
    assert answer.status_code == 200, answer.text
    for text in NASTY:
        found: SearchAnswer = await site.read(SearchAnswer, "/search", q=text)
        assert text.strip() == "" or all(set(one.name) for one in found.results)
        await site.read(VolunteersAnswer, "/volunteers", runtime=text)
        for path in ("shares", "peers"):
            await site.client.get(f"{API}/{path}/{text!r}")
        await site.get("/search", 400, q=text, cursor=text)
    view: PeerView = await site.read(PeerView, f"/peers/{to_text(me.peer_id)}")
    assert {one.name for one in view.shares} == set(NASTY)


async def test_a_conflict_tells_the_sequence(site: Site) -> None:
    me = Identity.generate()
    await site.announce(me, sequence=41)
    answer = await site.announce(me, reset=False, previous=7, sequence=50)
    assert answer.status_code == 409
    assert problem(answer).sequence == 41


async def test_bodies_that_are_no_announce(site: Site) -> None:
    me = Identity.generate()
    sealed = to_sign(Purpose.ANNOUNCE, NETWORK, b"")  # what the real signer puts before a body
    for body in (
        b"",
        b"null",
        b"not JSON",
        b"[" * 100_000,
        b'{"tracker":' * 50_000,
        b'{"tracker":"http://x","network":"n","sequence":1,"add":[{"share":"\xff"}]}',
        b'{"tracker":"\\ud800","network":"n","sequence":1}',
        b'{"sequence":1e999}',
        b"\x00" * 100_000,
    ):
        signature = me.sign(sealed + body)
        headers = {
            wire.PEER_HEADER: to_text(me.peer_id),
            wire.SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        }
        answer = await site.post(body, headers)
        assert (answer.status_code, bool(problem(answer).error)) == (400, True)
    body, headers = sign_announce(Announce(site.running.url, NETWORK, 1, reset=True), me)
    assert (await site.post(body, {})).status_code == 400
    assert (await site.post(body, headers | {wire.PEER_HEADER: "x" * 5000})).status_code == 400
    assert (await site.post(body, headers | {wire.SIGNATURE_HEADER: "!" * 5000})).status_code == 400
    assert (await site.post(body, headers)).status_code == 200


async def test_a_body_without_end(site: Site) -> None:
    declared = await site.post(bytes(wire.MAX_ANNOUNCE_BYTES + 1), {})
    assert declared.status_code == 413
    async with await site.connect() as stream:
        await stream.send_all(b"POST /api/v1/announce HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        for _ in range(wire.MAX_ANNOUNCE_BYTES // 0x10000 + 2):
            await stream.send_all(chunk)
        await stream.send_all(b"0\r\n\r\n")
        assert b" 413 " in (await stream.receive_some(1000)).splitlines()[0]
    await site.get("/statistics")


async def test_a_body_that_never_ends_is_cut_off(site: Site, shorten: Shorten) -> None:
    shorten(guard, "DRAIN_TIMEOUT_S", 0.2)
    async with await site.connect() as stream:
        await stream.send_all(b"POST /api/v1/announce HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        with trio.fail_after(10):
            await _send_until_cut_off(stream, b"10000\r\n" + bytes(0x10000) + b"\r\n")
    await site.get("/statistics")


async def test_a_body_that_does_not_come(site: Site, shorten: Shorten) -> None:
    shorten(bodies, "BODY_TIMEOUT_S", 0.05)
    shorten(guard, "DRAIN_TIMEOUT_S", 0.05)
    async with await site.connect() as stream:
        await stream.send_all(b"POST /api/v1/announce HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nsome")
        said = b""
        async for piece in stream:
            said += piece
    # Whoever does not finish its body may be hung up on before the answer reaches it.
    assert said == b"" or b" 408 " in said.splitlines()[0]
    await site.get("/statistics")


async def test_bodies_that_do_not_end_take_bounded_memory(start: Start, shorten: Shorten) -> None:
    shorten(bodies, "MAX_BLOCKS", 6)
    shorten(guard, "DRAIN_TIMEOUT_S", 0.05)
    site = await start()
    head = b"POST /api/v1/announce HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    async with await site.connect() as one, await site.connect() as other:
        await one.send_all(head + bytes(200_000))
        # Cut off, as soon as what it sent has been read, with or without an answer.
        await other.send_all(head + bytes(200_000))
        with trio.fail_after(20):
            said = b"".join([await _rest(one), await _rest(other)])
        assert b" 200 " not in said
    assert (await site.announce(Identity.generate())).status_code == 200


async def test_a_body_where_none_belongs_does_not_wedge_the_connection(site: Site) -> None:
    for path in (f"{API}/search", "/announce", "/", "/nothing", f"{API}/openapi.json"):
        answer = await site.client.request("GET", path, content=bytes(3_000_000))
        assert answer.status_code in {200, 404}
    answer = await site.client.request("DELETE", f"{API}/search", content=bytes(3_000_000))
    assert answer.status_code == 405
    assert len(site.running.connections.open) <= 2


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/announce HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
        b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\nhttp2-settings: !\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: \xff\r\n\r\n",
        b"GET /api/v1/search?q=%ff%fe%00&limit=%e2%82 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ],
)
async def test_what_is_no_request_ends_its_connection_only(site: Site, said: bytes) -> None:
    async with await site.connect() as stream:
        await stream.send_all(said)
        await stream.send_eof()
        with trio.fail_after(10):
            async for _ in stream:
                pass
    await site.get("/statistics")


async def test_an_address_is_held_to_its_rate(start: Start) -> None:
    site = await start(request_rate=0.01, request_burst=3)
    for _ in range(3):
        await site.get("/search", q="x")
    answer = await site.get("/search", 429, q="x")
    assert int(answer.headers["retry-after"]) >= 1
    page = await site.client.get("/", headers={"accept": "text/html"})
    assert page.status_code == 429
    assert int(page.headers["retry-after"]) >= 1
    assert page.headers["content-type"].startswith("text/html")


async def test_announces_are_held_to_their_rate(start: Start) -> None:
    site = await start(announce_rate=0.01, announce_burst=2)
    me = Identity.generate()
    for _ in range(2):
        assert (await site.announce(me)).status_code == 200
    answer = await site.announce(me)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


class Listening:
    """An event stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._said = b""

    async def line(self) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self._said:
            some = await self._stream.receive_some(65536)
            assert some, "the stream has ended"
            self._said += some
        line, _, self._said = self._said.partition(b"\n")
        return line.strip()

    async def figures(self) -> Statistics:
        """The next event's."""
        while True:
            line = await self.line()
            if line.startswith(b"data: "):
                return msgspec.json.decode(line.removeprefix(b"data: "), type=Statistics)


@asynccontextmanager
async def listening(site: Site, status: bytes = b"200") -> AsyncIterator[Listening]:
    async with await site.connect() as stream:
        await stream.send_all(f"GET {API}/events HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        made = Listening(stream)
        assert (await made.line()).split()[1] == status
        yield made


async def test_events_tell_of_changes(site: Site) -> None:
    async with listening(site) as told:
        assert (await told.figures()).now.peers == 0
        await site.announce(Identity.generate(), add=(listing(1),))
        figures = await told.figures()
        assert (figures.now.peers, figures.now.shares, figures.history) == (1, 1, ())


async def test_event_streams_of_an_address_are_bounded_and_given_back(start: Start) -> None:
    site = await start(event_streams_per_address=1)
    async with listening(site) as told:
        await told.figures()
        async with listening(site, b"429"):
            pass
    with trio.fail_after(10):
        while site.running.connections.open:
            await trio.lowlevel.checkpoint()
    async with listening(site) as told:
        await told.figures()


async def test_events_end_when_the_tracker_does(tmp_path: Path) -> None:
    home = tmp_path / "tracker"
    home.mkdir()
    ended = trio.Event()

    async def listen(port: int, *, task_status: trio.TaskStatus[None]) -> None:
        async with (
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
            client.stream("GET", f"{API}/events") as answer,
        ):
            lines = answer.aiter_lines()
            await anext(lines)
            task_status.started()
            async for _ in lines:
                pass
        ended.set()  # whole, not broken off

    async with trio.open_nursery() as nursery:
        async with open_tracker(tmp_path / "t.db", home, [Address("127.0.0.1", 0)], network=NETWORK) as running:
            await nursery.start(listen, running.addresses[0].port)
            started = trio.current_time()
        with trio.fail_after(10):
            await ended.wait()
    assert trio.current_time() - started < 3  # long before the grace is over


async def test_metrics_and_health(site: Site) -> None:
    await site.get("/search", q="x")
    await site.get("/search", 400, limit=0)
    text = (await site.client.get("/metrics")).text
    assert 'shoal_tracker_requests_total{route="/api/v1/search",status="200"} 1.0' in text
    assert 'shoal_tracker_requests_total{route="/api/v1/search",status="400"} 1.0' in text
    assert "shoal_tracker_peers 0" in text
    assert (await site.client.get("/healthz")).text == "ok\n"


async def test_the_description_is_of_every_route_and_complete(site: Site) -> None:
    document = (await site.get("/openapi.json")).json()
    assert set(document["paths"]) == {operation.path for operation in OPERATIONS}

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas
    assert {"Announce", "Problem", "SearchAnswer", "Found"} <= set(document["components"]["schemas"])
    described = [schema.get("description", "") for schema in document["components"]["schemas"].values()]
    assert any("\n\n" in text for text in described)
    assert not any(line.startswith(" ") for text in described for line in text.splitlines())
    names = {one["name"] for one in document["paths"][f"{API}/search"]["get"]["parameters"]}
    assert names == {"q", "kind", "min_size", "max_size", "limit", "cursor"}
    assert json.dumps(document)


async def test_pages_and_their_errors_are_for_people(site: Site) -> None:
    accept = {"accept": "text/html"}
    for path, status in (("/", 200), ("/nothing", 404), ("/search?cursor=forged", 400)):
        answer = await site.client.get(path, headers=accept)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")


async def test_with_a_url_of_its_own_it_takes_announces_for_that_one(start: Start) -> None:
    site = await start(url="https://tracker.example/shoal")
    me = Identity.generate()
    refused = await site.announce(me, tracker=f"http://127.0.0.1:{site.port}")
    assert refused.status_code == 403
    assert "https://tracker.example/shoal" in problem(refused).error
    assert (await site.announce(me, add=(listing(1, "found"),))).status_code == 200
    found: SearchAnswer = await site.read(SearchAnswer, "/search", q="found")
    assert "/ts.tracker.example,2fshoal" in found.results[0].link


async def test_only_a_proxy_that_was_named_is_believed(start: Start) -> None:
    site = await start(proxies=Proxies(frozenset({"127.0.0.1"})))

    async def seen(forwarded: str) -> str:
        site.client.headers["x-forwarded-for"] = forwarded
        answer = await site.announce(Identity.generate())
        return msgspec.json.decode(answer.content, type=Announced).seen_host

    assert await seen("203.0.113.7") == "203.0.113.7"
    assert await seen("203.0.113.7, 198.51.100.1") == "198.51.100.1"
    assert await seen("::ffff:203.0.113.8") == "203.0.113.8"
    assert await seen("nonsense") == "127.0.0.1"
    assert await seen("203.0.113.7,") == "127.0.0.1"
    site.client.headers["x-forwarded-proto"] = "https"
    assert "https://127.0.0.1" in (await site.client.get("/about")).text


async def test_without_a_proxy_no_header_is_believed(site: Site) -> None:
    site.client.headers["x-forwarded-for"] = "203.0.113.7"
    answer = await site.announce(Identity.generate())
    assert msgspec.json.decode(answer.content, type=Announced).seen_host == "127.0.0.1"


@pytest.mark.parametrize(("lines", "answered"), [("content-length: 6\r\n", 1), ("", 2)])
async def test_a_request_of_two_lengths_is_the_last_of_its_connection(site: Site, lines: str, answered: int) -> None:
    """A proxy that goes by the other length takes the second request for the body of the first."""
    first = f"POST /search HTTP/1.1\r\nhost: x\r\n{lines}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with await site.connect() as stream:
        await stream.send_all((first + smuggled).encode())
        answers = b""
        with trio.fail_after(10):
            while piece := await stream.receive_some(10_000):
                answers += piece
    assert answers.count(b"HTTP/1.1 ") == answered


async def test_a_locked_database_refuses_announces_soon(site: Site, tmp_path: Path) -> None:
    """They waited ten seconds each, one batch after another."""
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with trio.fail_after(8):
            refused = await site.announce(Identity.generate())
    assert refused.status_code == 503
    assert "Try again later" in problem(refused).error
    assert (await site.announce(Identity.generate())).status_code == 200


async def test_connections_of_an_address_are_bounded(site: Site, shorten: Shorten) -> None:
    shorten(connections, "MAX_PER_ADDRESS", 2)
    async with await site.connect() as one, await site.connect() as other:
        for stream in (one, other):
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 200")
        async with await site.connect() as third:
            assert await _hung_up(third)
    with trio.fail_after(10):
        while site.running.connections.open:
            await trio.lowlevel.checkpoint()
    await site.get("/statistics")


async def _send_until_cut_off(stream: trio.SocketStream, piece: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(piece)


async def _rest(stream: trio.SocketStream) -> bytes:
    said = b""
    with suppress(trio.BrokenResourceError):
        async for piece in stream:
            said += piece
    return said


async def _hung_up(stream: trio.SocketStream) -> bool:
    try:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        return await stream.receive_some(100) == b""
    except trio.BrokenResourceError:
        return True
