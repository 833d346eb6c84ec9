"""A server of HTTP over TCP, and clients that go before they are served."""

import socket
import struct
from functools import partial

import pytest
import trio
from starlette.types import Receive, Scope, Send

from p2p.net.http_server.connections import Connections
from p2p.net.http_server.serving import Welcome, serve
from p2p.net.http_server.stream import Stream
from p2p.net.http_server.turns import Turns

RESET = struct.pack("ii", 1, 0)


async def nothing(_: Scope, __: Receive, ___: Send) -> None:
    raise AssertionError("nobody was to be served")


async def looks(stream: Stream) -> bool:
    return bool(stream.ends()) and False


async def tells(stream: Stream) -> bool:
    while True:
        await stream.send_all(b"no")


async def listens(stream: Stream) -> bool:
    while True:
        await stream.receive_some()


@pytest.mark.parametrize("welcome", [looks, tells, listens])
async def test_a_client_that_resets_its_connection_is_no_error_of_ours(welcome: Welcome) -> None:
    """Each was logged as one, with the request to report it, and any user of the machine could fill the log."""
    gone, welcomed, stop = trio.Event(), trio.Event(), trio.Event()

    async def when_gone(stream: Stream) -> bool:
        welcomed.set()
        await gone.wait()
        return await welcome(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    connections, turns = Connections(4), Turns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run)
        serving = partial(serve, listeners, nothing, connections, turns, stop, trio.Event(), welcome=when_gone)
        await nursery.start(serving)
        client = await trio.open_tcp_stream(*listeners[0].socket.getsockname())
        await client.send_all(b"GET")
        await welcomed.wait()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await client.aclose()
        gone.set()
        with trio.fail_after(5):
            while connections.open:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_whoever_is_not_served_holds_no_place_by_silence() -> None:
    """Another user of the machine kept a peer's own user out, with 256 connections that said nothing."""
    asked = trio.Event()

    async def refuses(_: Stream) -> bool:
        asked.set()
        return False

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    connections, turns = Connections(1), Turns()
    async with trio.open_nursery() as nursery:
        serving = partial(serve, listeners, nothing, connections, turns, trio.Event(), trio.Event(), welcome=refuses)
        await nursery.start(serving)
        async with await trio.open_tcp_stream(*listeners[0].socket.getsockname()) as silent:
            with trio.fail_after(5):
                assert await silent.receive_some() == b""
        assert asked.is_set()
        assert not connections.open
        nursery.cancel_scope.cancel()
