"""Bodies of requests in bounded memory: those that never end keep no other network from announcing."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
import trio.testing
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from p2p.net.http_server import bodies
from p2p.net.http_server.bodies import BLOCK_BYTES, Bodies
from p2p.net.http_server.guard import Guard
from p2p.net.http_server.refusals import TooLarge, TooMuch, TooSlow
from p2p.net.http_server.turns import Turns
from p2p.wire.address import Address
from tests.support.announces import NETWORK
from tests.support.constants import Shorten
from tests.support.rogues.crowds import connect_from
from tracker.app import API
from tracker.http import Admission, problem
from tracker.limits import Limits
from tracker.proxies import NO_PROXIES
from tracker.server import open_tracker

MOST_BLOCKS = 16
MOST_BYTES = 8 * BLOCK_BYTES


@pytest.fixture
def held(shorten: Shorten) -> Bodies:
    shorten(bodies, "MAX_BLOCKS", MOST_BLOCKS)
    return Bodies(MOST_BYTES)


def request(host: str, *pieces: bytes, ends: bool = True) -> Request:
    """A request from this host whose body comes in these pieces; without an end, nothing follows them."""
    left = list(pieces)

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        if not left and not ends:
            await trio.sleep_forever()
        piece = left.pop(0) if left else b""
        return {"type": "http.request", "body": piece, "more_body": bool(left) or not ends}

    return Request({"type": "http", "client": (host, 1), "headers": []}, receive)


async def length(held: Bodies, asked: Request) -> int:
    async with held.reading(asked) as body:
        return len(body)


async def refused(held: Bodies, asked: Request, outcomes: list[str]) -> None:
    """Notes how a request that is no use ends."""
    try:
        await length(held, asked)
    except TooMuch as error:
        outcomes.append(str(error))


async def test_a_body_is_read_whole(held: Bodies) -> None:
    pieces = [b"a" * 10, b"", b"b" * BLOCK_BYTES, b"c"]
    async with held.reading(request("192.0.2.1", *pieces)) as body:
        assert body == b"".join(pieces)
    for _ in range(3 * MOST_BLOCKS):
        assert await length(held, request("192.0.2.1", bytes(MOST_BYTES))) == MOST_BYTES
    with pytest.raises(TooLarge):
        await length(held, request("192.0.2.1", bytes(MOST_BYTES), b"x"))
    assert await length(held, request("192.0.2.1")) == 0


async def test_bodies_of_one_network_that_do_not_end_keep_nobody_out(held: Bodies, nursery: trio.Nursery) -> None:
    """With 45 of them, whoever else announced was refused half of the time."""
    outcomes: list[str] = []
    for number in range(45):
        asked = request(f"9.9.9.{number}", bytes(BLOCK_BYTES), bytes(BLOCK_BYTES), ends=False)
        nursery.start_soon(refused, held, asked, outcomes)
    await trio.testing.wait_all_tasks_blocked()
    assert len(outcomes) == 45 - MOST_BLOCKS // 2
    for number in range(20):
        assert await length(held, request(f"203.0.{number % 3}.7", *[bytes(BLOCK_BYTES)] * 6)) == 6 * BLOCK_BYTES
    await trio.testing.wait_all_tasks_blocked()
    assert any("other networks" in outcome for outcome in outcomes)
    # A neighbour of theirs has a share, too.
    assert await length(held, request("9.9.9.200", bytes(BLOCK_BYTES))) == BLOCK_BYTES
    nursery.cancel_scope.cancel()


async def test_a_body_that_waits_to_be_decoded_makes_room(held: Bodies, nursery: trio.Nursery) -> None:
    outcomes: list[str] = []

    async def wait_for_a_turn(number: int) -> None:
        try:
            async with held.reading(request(f"9.9.9.{number}", bytes(4 * BLOCK_BYTES))):
                await trio.sleep_forever()
        except TooMuch as error:
            outcomes.append(str(error))

    for number in range(4):
        nursery.start_soon(wait_for_a_turn, number)
    await trio.testing.wait_all_tasks_blocked()
    assert await length(held, request("203.0.113.7", bytes(4 * BLOCK_BYTES))) == 4 * BLOCK_BYTES
    await trio.testing.wait_all_tasks_blocked()
    assert len(outcomes) == 1
    nursery.cancel_scope.cancel()


async def test_a_body_that_does_not_come_in_time(held: Bodies, autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(TooSlow):
        await length(held, request("192.0.2.1", b"some", ends=False))


async def test_a_body_where_none_belongs_is_read_before_a_question_waits() -> None:
    """While one waited for its turn, 640 KiB of it were held."""
    left = [bytes(BLOCK_BYTES)] * 5
    seen: list[tuple[str, int]] = []

    async def receive() -> Message:
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["method"], len(left)))

    async def send(message: Message) -> None:
        raise AssertionError(message)

    admission = Admission(Limits(), trio.current_time, NO_PROXIES, Turns())
    guard = Guard(app, admission.admit, lambda _, error: problem(error))
    headers = [(b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "GET", "client": ("192.0.2.1", 1), "headers": headers, "path": "/"}
    await guard(scope, receive, send)
    assert seen == [("GET", 0)]


async def test_announces_get_through_beside_bodies_that_do_not_end(tmp_path: Path, shorten: Shorten) -> None:
    shorten(bodies, "MAX_BLOCKS", MOST_BLOCKS)
    home = tmp_path / "home"
    home.mkdir()
    head = f"POST {API}/announce HTTP/1.1\r\nhost: x\r\ncontent-length: {20 * BLOCK_BYTES}\r\n\r\n".encode()
    async with (
        open_tracker(tmp_path / "t.db", home, [Address("127.0.0.1", 0)], network=NETWORK) as running,
        AsyncExitStack() as crowd,
    ):
        at = running.addresses[0]
        for number in range(12):
            stream = trio.SocketStream(await connect_from(f"127.9.9.{1 + number}", at))
            await crowd.enter_async_context(stream)
            await stream.send_all(head + bytes(2 * BLOCK_BYTES))
        for number in range(10):
            async with trio.SocketStream(await connect_from(f"127.8.{number}.1", at)) as honest:
                body = bytes(4 * BLOCK_BYTES)
                await honest.send_all(head.replace(f"{20 * BLOCK_BYTES}".encode(), f"{len(body)}".encode()) + body)
                with trio.fail_after(5):
                    said = bytes(await honest.receive_some(1000))
                # It is no announce, but has been read.
                assert said.startswith(b"HTTP/1.1 400 "), said
