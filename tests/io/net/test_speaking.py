"""Sending to clients that take little at a time."""

import socket

import trio
from trio.testing import MockClock

from p2p.net.http_server.speaking import STALLED_S, Stream

DATA = bytes(2 * 1024 * 1024)
TAKEN = 16 * 1024


async def test_a_slow_client_that_goes_on_taking_gets_all(autojump_clock: MockClock) -> None:
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair())
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
