"""HTTP on one connection: request after request, clients that go, and those that say or take little."""

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.net.http_server import framing, speaking
from p2p.net.http_server.events import KEEP_AWAKE_S, stream
from p2p.net.http_server.speaking import IDLE_TIMEOUT_S, Speaker
from p2p.net.http_server.stream import STALLED_S, Stream
from tests.support.constants import Shorten

DATA = bytes(2 * 1024 * 1024)
TAKEN = 16 * 1024
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"


def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair())
    return near, far


class Client:
    """The other end of a connection that is served; `turns` is how often it had its turn."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.turns = 0
        self.done = trio.Event()
        self._heard = b""

    async def say(self, words: bytes) -> None:
        await self.stream.send_all(words)

    async def hear(self, end: bytes) -> bytes:
        """What is said up to this end."""
        while end not in self._heard:
            said = await self.stream.receive_some()
            assert said, self._heard
            self._heard += said
        heard, _, self._heard = self._heard.partition(end)
        return heard + end

    async def rest(self) -> bytes:
        """What is said until the connection ends."""
        try:
            async for said in self.stream:
                self._heard += said
        except trio.BrokenResourceError:
            pass
        return self._heard


@asynccontextmanager
async def served(application: ASGIApp, speaker: Speaker | None = None) -> AsyncIterator[Client]:
    near, far = pair()
    client = Client(far)

    async def turn() -> None:
        client.turns += 1
        await trio.lowlevel.checkpoint()

    async def speak() -> None:
        await (speaker or Speaker(application)).speak(Stream(near, turn))
        client.done.set()

    async with far, trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        yield client
        await far.aclose()
        with trio.fail_after(2 * STALLED_S):
            await client.done.wait()


async def start(send: Send, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def answer(send: Send, body: bytes = b"ok") -> None:
    await start(send, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the method and the body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await answer(send, scope["method"].encode() + b" " + body + b".")


async def test_requests_are_answered_one_by_one_each_in_its_turn() -> None:
    async with served(echo) as client:
        await client.say(GET)
        assert (await client.hear(b"GET .")).startswith(b"HTTP/1.1 200 OK\r\n")
        await client.say(POST + b"he")
        await client.say(b"llo" + 2 * GET + POST.replace(b"x\r\n", b"x\r\nconnection: close\r\n") + b"hello" + GET)
        rest = await client.rest()
        assert [rest.count(said) for said in (b"GET .", b"POST hello.", b"HTTP/1.1 200 OK")] == [2, 2, 4]
        assert client.turns >= 5


async def test_a_chunked_body_is_read_to_its_end() -> None:
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    async with served(echo) as client:
        await client.say(chunked + b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\ntrailer: x\r\n\r\n" + GET)
        await client.hear(b"POST hello.")
        await client.hear(b"GET .")
        await client.say(chunked + b"zz\r\n")
        assert b"\r\nconnection: close\r\n" in await client.rest()


async def test_a_client_goes_on_when_its_body_is_wanted() -> None:
    expects = POST.replace(b"x\r\n", b"x\r\nexpect: 100-continue\r\n")
    async with served(echo) as client:
        await client.say(expects)
        assert await client.hear(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.say(b"hello")
        await client.hear(b"POST hello.")

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no")

    async with served(refuse) as client:
        await client.say(expects)
        rest = await client.rest()  # whether the body comes is not known
        assert (rest.count(b"HTTP/1.1"), b"\r\nconnection: close\r\n" in rest) == (1, True)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"y" * 4 * framing.HEAD_BYTES, b"431"),
        (POST.replace(b"x\r\n", b"x\r\ntransfer-encoding: chunked\r\n") + b"0\r\n\r\n" + GET, b"400"),
    ],
)
async def test_words_that_are_no_request_end_their_connection(words: bytes, status: bytes) -> None:
    async with served(echo) as client:
        await client.say(words)
        heard = await client.rest()
        # What was not read may destroy the answer on its way.
        assert not heard or (heard.count(b"HTTP/1.1 "), heard[9:12]) == (1, status)


async def test_an_offer_to_speak_something_else_is_not_taken_up() -> None:
    for offer in (b"h2c\r\nhttp2-settings: AAMAAABk", b"websocket\r\nsec-websocket-version: 13"):
        async with served(echo) as client:
            await client.say(GET.replace(b"x\r\n", b"x\r\nconnection: upgrade\r\nupgrade: " + offer + b"\r\n") + GET)
            for _ in range(2):
                assert (await client.hear(b"GET .")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_stream_is_heard_as_it_comes_and_ends_when_its_client_goes() -> None:
    ended = trio.Event()

    async def events(scope: Scope, receive: Receive, send: Send) -> None:
        async def say() -> AsyncIterator[bytes]:
            try:
                yield b"data: 1\n\n"
                await trio.sleep_forever()
            finally:
                ended.set()

        await StreamingResponse(say(), media_type="text/event-stream")(scope, receive, send)

    async with served(events) as client:
        await client.say(GET)
        await client.hear(b"data: 1\n\n")
        await client.say(GET)  # a request that waits is no end
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        await client.stream.aclose()
        await ended.wait()


async def test_the_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, (b"content-type", b"text/event-stream"))
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(silent) as client:
        await client.say(GET)
        assert b"\r\ntransfer-encoding: chunked\r\n" in await client.hear(b"\r\n\r\n")


async def test_a_client_is_done_when_its_answer_is() -> None:
    heard: list[str] = []

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            while not heard or heard[-1] != "http.disconnect":
                heard.append((await receive())["type"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await wait_all_tasks_blocked()
            await answer(send)
            await wait_all_tasks_blocked()

    async with served(listening) as client:
        await client.say(GET)
        await client.hear(b"ok")
        await wait_all_tasks_blocked()
        assert heard == ["http.request", "http.disconnect"]
        heard.clear()
        await client.say(GET)
        await client.hear(b"ok")


async def test_a_stream_ends_when_its_client_goes_after_too_many_words(autojump_clock: MockClock) -> None:
    """Of such a client no more is read, so that it has gone is noticed only by what is sent."""

    async def nothing() -> AsyncGenerator[bytes, None]:
        await trio.sleep_forever()
        yield b""

    async def listen(_: Scope, receive: Receive, send: Send) -> None:
        await stream(nothing(), receive, send)

    async with served(listen) as client:
        await client.say(GET + bytes(3 * framing.HEAD_BYTES))
        await client.hear(b"\r\n\r\n")
        await wait_all_tasks_blocked()
        await client.stream.aclose()
        with trio.fail_after(3 * KEEP_AWAKE_S):
            await client.done.wait()


async def test_what_is_said_during_an_answer_is_bounded_and_not_lost() -> None:
    goes_on = trio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                assert (await receive())["type"] == "http.request"
                await receive()

            nursery.start_soon(listen)
            await goes_on.wait()
            nursery.cancel_scope.cancel()
        await answer(send)

    large = GET.replace(b"x\r\n", b"x\r\na: " + bytes(8000).replace(b"\0", b"a") + b"\r\n")
    requests = 300  # more than what both sockets hold
    async with served(slow) as client, trio.open_nursery() as nursery:
        said = 0

        async def say() -> None:
            nonlocal said
            for _ in range(requests):
                await client.say(large)
                said += 1

        nursery.start_soon(say)
        await wait_all_tasks_blocked()
        assert said < requests
        goes_on.set()
        for _ in range(requests):
            await client.hear(b"ok")


async def test_whoever_does_not_listen_hinders_nobody_who_goes_on_sending() -> None:
    sent = 0

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await start(send, (b"content-length", b"%d" % (1000 * len(DATA))))
        for _ in range(1000):
            await send({"type": "http.response.body", "body": DATA, "more_body": True})
            sent += 1
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    async with served(deaf) as client:
        await client.say(GET)
        await client.hear(b"\r\n\r\n")
        await client.stream.aclose()
        await client.done.wait()
    assert sent == 1000


@pytest.mark.parametrize("more", [True, False])
async def test_an_answer_that_stays_short_is_seen_to_be(more: bool) -> None:
    async def short(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, (b"content-length", b"10"))
        if more:
            await send({"type": "http.response.body", "body": b"short", "more_body": True})

    async with served(short) as client:
        await client.say(GET + GET)
        rest = await client.rest()
        assert (rest.count(b"HTTP/1.1"), rest.endswith(b"short")) == (int(more), more)


async def test_an_application_that_says_nothing_is_told_about() -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.lowlevel.checkpoint()

    async with served(nothing) as client:
        await client.say(GET + GET)
        rest = await client.rest()
        assert (rest.count(b"HTTP/1.1"), rest.startswith(b"HTTP/1.1 500 ")) == (1, True)


@pytest.mark.parametrize(
    "said",
    [
        [{"type": "http.response.body", "body": b"x"}],
        [{"type": "http.response.start", "status": 200}] * 2,
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.push"}],
        [{"type": "http.response.start", "status": 200}, *[{"type": "http.response.body"}] * 2],
    ],
)
async def test_an_answer_out_of_order_is_the_applications_error(said: list[Message]) -> None:
    raised: list[bool] = []

    async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            for message in said:
                await send(message)
        except ValueError:
            raised.append(True)

    async with served(wrong) as client:
        await client.say(GET)
        await client.stream.send_eof()
        await client.rest()
    assert raised == [True]


async def test_an_idle_connection_ends_and_so_does_a_head_that_drips(autojump_clock: MockClock) -> None:
    for words in (b"", GET):
        async with served(echo) as client:
            await client.say(words) if words else None
            began = trio.current_time()
            await client.rest()
            assert trio.current_time() - began == IDLE_TIMEOUT_S

    async with served(echo) as client, trio.open_nursery() as nursery:

        async def drip() -> None:
            while True:
                await client.say(b"a")
                await trio.sleep(1)

        await client.say(GET)
        await client.hear(b"GET .")
        await client.say(b"GET / HTTP/1.1\r\na: ")
        nursery.start_soon(drip)
        began = trio.current_time()
        assert await client.rest() == b""
        assert trio.current_time() - began <= IDLE_TIMEOUT_S
        nursery.cancel_scope.cancel()


async def test_told_to_end_it_finishes_what_is_under_way() -> None:
    goes_on = trio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await goes_on.wait()
        await answer(send)

    speaker = Speaker(slow)
    async with served(slow, speaker) as busy, served(slow, speaker) as idle, served(slow, speaker) as halfway:
        await busy.say(GET + GET)
        await halfway.say(GET[:9])
        await wait_all_tasks_blocked()
        await speaker.end()
        assert [await idle.rest(), await halfway.rest()] == [b"", b""]
        goes_on.set()
        rest = await busy.rest()
        assert (rest.count(b"HTTP/1.1"), b"\r\nconnection: close\r\n" in rest) == (1, True)


async def test_a_connection_ends_after_many_requests(shorten: Shorten) -> None:
    shorten(speaking, "KEPT_REQUESTS", 3)
    async with served(echo) as client:
        await client.say(5 * GET)
        rest = await client.rest()
        assert (rest.count(b"HTTP/1.1"), rest.count(b"\r\nconnection: close\r\n")) == (3, 1)


async def test_a_slow_client_that_goes_on_taking_gets_all(autojump_clock: MockClock) -> None:
    near, far = pair()
    taken = 0

    async def take() -> None:
        nonlocal taken
        while taken < len(DATA):
            taken += len(await far.receive_some(TAKEN))
            await trio.sleep(1)

    began = trio.current_time()
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await Stream(near, trio.lowlevel.checkpoint).send_all(DATA)
    assert taken == len(DATA)
    assert trio.current_time() - began > 2 * STALLED_S


@pytest.mark.parametrize("taken", [0, TAKEN // 64])
async def test_a_client_that_takes_next_to_nothing_is_given_up(autojump_clock: MockClock, taken: int) -> None:
    near, far = pair()

    async def take() -> None:
        while taken:
            await far.receive_some(taken)
            await trio.sleep(1)

    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(take)
        with pytest.raises(trio.BrokenResourceError):
            await Stream(near, trio.lowlevel.checkpoint).send_all(DATA)
        nursery.cancel_scope.cancel()
