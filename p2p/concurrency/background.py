"""A task that is begun now and awaited later."""

from collections.abc import Awaitable, Callable

import trio

from p2p.errors import ShoalError


class Background:
    """A piece of work: `run` is a task for a nursery, and no ShoalError leaves it."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._error: ShoalError | None = None
        self._over = trio.Event()

    async def run(self) -> None:
        """Does it."""
        try:
            await self._work()
        except ShoalError as error:
            self._error = error
        self._over.set()

    async def done(self) -> None:
        """Returns once it is done. Raises the ShoalError with which it failed."""
        await self._over.wait()
        if self._error is not None:
            raise self._error
