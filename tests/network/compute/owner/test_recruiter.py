"""An owner finds volunteers, whatever some of those do who could name them."""

from functools import partial

import trio

from p2p.net import http
from tests.support.constants import Shorten
from tests.support.world import PATIENCE_S, World, hint_of
from tests.support.world_jobs import SUM, run_job, volunteer, write_job


async def test_a_tracker_that_does_not_answer_keeps_nobody_from_volunteers_that_are_named(
    world: World, shorten: Shorten
) -> None:
    shorten(http, "REQUEST_TIMEOUT_S", 10 * PATIENCE_S)
    asked: list[bytes] = []

    async def hear(stream: trio.SocketStream) -> None:
        async with stream:
            async for data in stream:
                asked.append(bytes(data))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, hear, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        owner = await world.peer("owner", network={"trackers": (f"http://127.0.0.1:{port}",)})
        node = await volunteer(world)
        answer = await run_job(owner, write_job(world, SUM), [hint_of(node)])
        assert answer.result == sum(i * i for i in range(60))
        assert any(b"/volunteers?" in data for data in asked)
        nursery.cancel_scope.cancel()
