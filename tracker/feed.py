"""Sends the network's figures, as they change, to a bounded number of listeners. A change is computed once.

Networks share the places (`p2p.places.Seats`); a listener that has gone is noticed by TCP, as something is sent to each
every few seconds.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import trio

from p2p.concurrency.walls import Wall
from p2p.net.http_server.refusals import TooMuch
from p2p.places import Seats
from p2p.wire.tracker import Statistics

FEED = Wall("feed of figures")

FEED_INTERVAL_S = 1.0


@dataclass(eq=False)
class _Listener:
    """One that listens; the scope in which it waits is cancelled if it loses its place."""

    waiting: trio.CancelScope = field(default_factory=trio.CancelScope)


class Feed:
    """Computes the figures once per second while there are listeners, and passes them on if they have changed."""

    def __init__(self, look: Callable[[], Awaitable[Statistics]], most: int) -> None:
        self._look = look
        self._listeners: Seats[_Listener] = Seats("event streams", most)
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
            if not len(self._listeners):
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

    async def changes(self, host: str) -> AsyncGenerator[Statistics, None]:
        """Yields the figures to a listener at this host, now and whenever they have changed, at most once per second.

        Ends early if one of another network gets its place. Raises TooMuch.
        """
        listener = _Listener()
        entry = self._listeners.enter(listener, host)
        if not entry.admitted:
            raise TooMuch("Too many clients listen to this tracker's events. Ask for /api/v1/statistics instead.", 60)
        if entry.displaced is not None:
            entry.displaced.waiting.cancel()
        self._listening.set()
        told: Statistics | None = None
        try:
            while not self._stopped and listener in self._listeners:
                turned, latest = self._turned, self._latest
                if latest is not None and latest is not told:
                    told = latest
                    yield latest
                else:
                    listener.waiting = trio.CancelScope()
                    with listener.waiting:
                        await turned.wait()
        finally:
            self._listeners.leave(listener)

    def _turn(self) -> None:
        self._turned.set()
        self._turned = trio.Event()


def _is_same(one: Statistics, other: Statistics) -> bool:
    """Whether the figures differ only in their time."""
    at = msgspec.structs.replace(one.now, time=other.now.time)
    return msgspec.structs.replace(one, now=at) == other
