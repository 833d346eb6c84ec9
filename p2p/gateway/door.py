"""Connections that speak HTTP. What serves them is loaded when the first comes: most peers are never asked."""

from collections.abc import Awaitable, Callable

import trio

from p2p.concurrency.activity import Activity
from p2p.discovery.discovery import Discovery
from p2p.gateway.shelf import Shelf
from p2p.sharing.reading.open_shares import OpenShares

Speak = Callable[[trio.SocketStream], Awaitable[None]]


class Door:
    """Serves shares over HTTP, on connections that were accepted elsewhere."""

    def __init__(self, open_shares: OpenShares, discovery: Discovery, activity: Activity) -> None:
        self._shelf = Shelf(open_shares)
        self._discovery = discovery
        self._activity = activity
        self._speak: Speak | None = None
        self._take_turns: Callable[[], Awaitable[None]] = trio.sleep_forever
        self._loaded = trio.Event()
        self._loading = trio.Lock()
        self._speaking: set[trio.SocketStream] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Gives requests their turns, and closes shares that nobody reads any more. Cancelled, closes all of them, and
        every connection.
        """
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._shelf.run)
                task_status.started()
                await self._loaded.wait()
                await self._take_turns()
        finally:
            for stream in self._speaking:
                stream.socket.close()

    async def speak(self, stream: trio.SocketStream) -> None:
        """Serves one connection to its end."""
        self._speaking.add(stream)
        try:
            speak = await self._load()
            await speak(stream)
        finally:
            self._speaking.discard(stream)

    async def _load(self) -> Speak:
        async with self._loading:
            if self._speak is None:
                speak, self._take_turns = await trio.to_thread.run_sync(self._make)
                self._speak = speak
                self._loaded.set()
            return self._speak

    def _make(self) -> tuple[Speak, Callable[[], Awaitable[None]]]:
        from p2p.gateway.application import speaking

        return speaking(self._shelf, self._discovery.mutable_links.resolve, self._activity)
