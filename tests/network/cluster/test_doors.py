"""Doors into a cluster's network: for the owner's own programs, and dashboards for pages of their own."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from p2p.cluster.network import doors, http_door
from p2p.cluster.network.doors import Doors, Speak
from p2p.errors import ConfigError
from p2p.net import users
from tests.support.clusters.boxes import NOBODY, PYTHON

VISIT = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(s.recv(99))"


class Engine:
    """A program in the cluster's network: it repeats what it hears."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.heard: list[bytes] = []
        self.port = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async with stream:
                await stream.send_all(b"hello ")
                async for piece in stream:
                    self.heard.append(bytes(piece))
                    await stream.send_all(piece)

    async def connect(self, host: str, port: int) -> trio.SocketStream:
        assert (host, port) == ("m0", 8786)
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def door(self, speak: Speak | None = None, local: int = 0) -> int:
        """The port of a new door to this engine."""

        async def serve(*, task_status: trio.TaskStatus[int]) -> None:
            await Doors(self.connect).serve("m0", 8786, local, speak, task_status=task_status)

        port: int = await self.nursery.start(serve)
        return port


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with trio.open_nursery() as nursery:
        made = Engine(nursery)
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        made.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, made.serve, [listener])
        yield made
        nursery.cancel_scope.cancel()


async def everything(stream: trio.SocketStream) -> bytes:
    came = b""
    try:
        async for piece in stream:
            came += piece
    except trio.BrokenResourceError:
        pass
    return came


async def asked(port: int, request: str) -> str:
    """What a door answers, and what it passed on: the engine says both."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
        await client.send_all(request.replace("\n", "\r\n").encode())
        await client.send_eof()
        with trio.fail_after(10):
            return (await everything(client)).decode()


async def test_a_door_carries_both_ways_until_both_ends_have_said_all(engine: Engine) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", await engine.door()) as client:
        await client.send_all(b"data" * 100_000)
        await client.send_eof()
        assert await everything(client) == b"hello " + b"data" * 100_000


async def test_a_port_that_is_taken_is_told(engine: Engine) -> None:
    port = await engine.door()
    with pytest.raises(ConfigError, match="Choose another port"):
        await Doors(engine.connect).serve("m0", 8786, port, task_status=trio.TASK_STATUS_IGNORED)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
async def test_another_user_is_turned_away(engine: Engine) -> None:
    port = await engine.door()
    visit = [PYTHON, "-I", "-c", VISIT, str(port)]
    for user, answer in ((NOBODY, b"b''\n"), (None, b"b'hello '\n")):
        done = await trio.run_process(
            visit, capture_stdout=True, check=False, stderr=subprocess.DEVNULL, user=user, group=user
        )
        assert done.stdout in (answer, b"" if user else answer), "an end, or a reset"


async def test_where_nobody_can_tell_nobody_is_let_in(engine: Engine, shorten: Callable[..., None]) -> None:
    shorten(users, "TABLES", (Path("/nowhere"),))
    async with await trio.open_tcp_stream("127.0.0.1", await engine.door()) as client:
        assert await everything(client) == b""


async def test_clients_have_places_and_whoever_finds_none_is_turned_away(
    engine: Engine, shorten: Callable[..., None]
) -> None:
    shorten(doors, "MAX_CLIENTS", 1)
    port = await engine.door()
    async with await trio.open_tcp_stream("127.0.0.1", port) as first:
        assert await first.receive_some() == b"hello "
        async with await trio.open_tcp_stream("127.0.0.1", port) as second:
            assert await everything(second) == b""
        await first.send_all(b"still there")
        assert await first.receive_some() == b"still there"
    with trio.fail_after(10):
        while True:
            async with await trio.open_tcp_stream("127.0.0.1", port) as third:
                if await everything_at_first(third) == b"hello ":
                    break


async def everything_at_first(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


async def test_what_is_not_there_ends_its_client_only(engine: Engine) -> None:
    port, engine.port = await engine.door(), 1
    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
        assert await everything(client) == b""


GOOD = "GET /status HTTP/1.1\nHost: 127.0.0.1:8787\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GOOD.replace("127.0.0.1:8787", "rebound.example:8787") + "\n", 421),
        ("GET / HTTP/1.0\n\n", 421),
        (GOOD + "Sec-Fetch-Site: cross-site\n\n", 403),
        (GOOD + "Sec-Fetch-Site: same-site\n\n", 403),
        (GOOD + "Origin: http://evil.example\n\n", 403),
        (GOOD + "Origin: null\nUpgrade: websocket\nConnection: Upgrade\n\n", 403),
        (GOOD + "Origin: http://127.0.0.1:8888\n\n", 403),
        (GOOD + "Origin: http://evil.example\nOrigin: http://127.0.0.1:8787\n\n", 400),
        (GOOD + "Host: evil.example\n\n", 400),
        ("POST / HTTP/1.1\nHost: 127.0.0.1:8787\nTransfer-Encoding: chunked\n\n", 411),
        ("not http\n\n", 400),
        ("GET / HTTP/1.1\nHost: localhost\nX: " + "x" * http_door.MAX_HEAD_BYTES, 400),
        ("", 400),
    ],
)
async def test_what_other_pages_cause_does_not_get_through(engine: Engine, request_: str, status: int) -> None:
    answer = await asked(await engine.door(http_door.speak), request_)
    assert answer.startswith(f"HTTP/1.1 {status} ") or (len(request_) > http_door.MAX_HEAD_BYTES and answer == "")
    assert engine.heard == []


async def test_a_dashboard_gets_one_request_and_no_other_behind_it(engine: Engine) -> None:
    door = await engine.door(http_door.speak)
    head = "POST /x HTTP/1.1\nHost: localhost:8787\nOrigin: http://localhost:8787\nContent-Length: 4\n"
    smuggled = "GET /secret HTTP/1.1\nHost: evil.example\n\n"
    async with await trio.open_tcp_stream("127.0.0.1", door) as client:
        await client.send_all((head + "Connection: keep-alive\n\nbo").replace("\n", "\r\n").encode())
        await client.send_all(("dy" + smuggled).encode())
        said = b""
        with trio.fail_after(10):
            while not said.endswith(b"body"):
                said += await client.receive_some()
    assert said.decode().replace("\r", "") == f"hello {head}Connection: close\n\nbody"


async def test_a_websocket_gets_through_both_ways(engine: Engine) -> None:
    door = await engine.door(http_door.speak)
    head = GOOD + "Upgrade: websocket\nOrigin: http://127.0.0.1:8787\nSec-Fetch-Site: same-origin\n"
    answer = await asked(door, head + "Connection: keep-alive, Upgrade\n\nframes")
    assert answer.replace("\r", "") == f"hello {head}Connection: Upgrade\n\nframes"


async def test_whoever_says_nothing_is_not_waited_for(engine: Engine, shorten: Callable[..., None]) -> None:
    shorten(http_door, "HEAD_TIMEOUT_S", 0.05)
    async with await trio.open_tcp_stream("127.0.0.1", await engine.door(http_door.speak)) as client:
        assert await everything(client) == b""
