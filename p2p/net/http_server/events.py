"""Server-sent events: an answer that goes on until its client goes away, or there is no more to tell."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import trio
from starlette.types import Receive, Send

KEEP_AWAKE_S = 15.0
"""How long an event stream may have nothing to send before it sends a keep-alive."""


def event(name: str, data: bytes) -> bytes:
    """One event; `data` is JSON, which has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


async def stream(events: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
    """Answers with these events."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    sending = trio.Lock()

    async def say(said: bytes) -> None:
        async with sending:
            await send({"type": "http.response.body", "body": said, "more_body": True})

    async with aclosing(events), trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
        nursery.start_soon(_keep_awake, say)
        async for said in events:
            await say(said)
        nursery.cancel_scope.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _keep_awake(say: Callable[[bytes], Awaitable[None]]) -> None:
    while True:
        await trio.sleep(KEEP_AWAKE_S)
        await say(b": still here\n\n")
