"""Runs work in the background: it is started now and awaited later."""

from collections.abc import Awaitable, Callable

import trio

from p2p.concurrency.walls import Wall
from p2p.errors import ShoalError

BACKGROUND = Wall("background task")


class Background:
    """Work in the background: start `run` in a nursery, and await `done`.

    If the work fails, `done` raises the ShoalError, and `run` does not.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._error: ShoalError | None = None
        self._over = trio.Event()

    async def run(self) -> None:
        """Does the work, and keeps a ShoalError that it raises for `done`."""
        try:
            with BACKGROUND.around():
                await self._work()
        except ShoalError as error:
            self._error = error
        self._over.set()

    async def done(self) -> None:
        """Waits until the work has ended. Raises the ShoalError that it failed with."""
        await self._over.wait()
        if self._error is not None:
            raise self._error
