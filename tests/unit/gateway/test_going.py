"""Clients that go away."""

import trio.testing
from starlette.types import Message

from p2p.gateway.going import until_gone


async def test_a_client_that_goes_in_the_moment_of_the_result_is_gone() -> None:
    moment = trio.Event()

    async def receive() -> Message:
        await moment.wait()
        return {"type": "http.disconnect"}

    async def act() -> str:
        await trio.testing.wait_all_tasks_blocked()
        moment.set()
        return "a result"

    assert await until_gone(receive, act) is None
