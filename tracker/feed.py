"""Sends the network's figures, as they change, to a bounded number of listeners. A change is computed once."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
import trio

from p2p.concurrency.walls import Wall
from p2p.wire.tracker import Statistics
from tracker.limits import TooMuch

FEED = Wall("feed of figures")

FEED_INTERVAL_S = 1.0


class Feed:
    """Computes the figures once per second while there are listeners, and passes them on if they have changed."""

    def __init__(self, look: Callable[[], Awaitable[Statistics]], most: int) -> None:
        self._look = look
        self._most = most
        self._listeners = 0
        self._latest: Statistics | None = None
        self._turned = trio.Event()
        self._listening = trio.Event()
        self._stopped = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sends the figures to the listeners, until cancelled."""
        task_status.started()
        while True:
            await self._listening.wait()
            await FEED.contain(self._update)
            await trio.sleep(FEED_INTERVAL_S)
            if not self._listeners:
                self._listening, self._latest = trio.Event(), None

    async def _update(self) -> None:
        figures = await self._look()
        if self._latest is None or not _is_same(figures, self._latest):
            self._latest = figures
            self._turn()

    def stop(self) -> None:
        """Ends every stream of changes, present and future."""
        self._stopped = True
        self._turn()

    async def changes(self) -> AsyncGenerator[Statistics, None]:
        """Yields the figures now, and whenever they have changed, at most once per second. Raises TooMuch."""
        if self._listeners >= self._most:
            raise TooMuch("Too many clients listen to this tracker's events. Ask for /api/v1/statistics instead.", 60)
        self._listeners += 1
        self._listening.set()
        told: Statistics | None = None
        try:
            while not self._stopped:
                turned, latest = self._turned, self._latest
                if latest is not None and latest is not told:
                    told = latest
                    yield latest
                else:
                    await turned.wait()
        finally:
            self._listeners -= 1

    def _turn(self) -> None:
        self._turned.set()
        self._turned = trio.Event()


def _is_same(one: Statistics, other: Statistics) -> bool:
    """Whether the figures differ only in their time."""
    at = msgspec.structs.replace(one.now, time=other.now.time)
    return msgspec.structs.replace(one, now=at) == other
