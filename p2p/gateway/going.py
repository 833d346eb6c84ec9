"""Clients that go away while others are waited for, or much is sent: then nothing more is done for them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from starlette.types import Receive

from p2p.errors import ShoalError

T = TypeVar("T")


async def until_gone(receive: Receive, act: Callable[[], Awaitable[T]]) -> T | None:
    """Returns what `act` does, or None if the client has gone away first. Raises its ShoalErrors as they are.

    It has to be over before the last of an answer is sent: that is when the server itself says that the client is done.
    """
    result: T | None = None
    failure: ShoalError | None = None
    gone = False
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            result = await act()
        except ShoalError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if gone:
        return None  # even if both came at once: nobody hears the answer
    if failure is not None:
        raise failure
    return result
