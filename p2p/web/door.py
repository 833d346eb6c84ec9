"""Connections that speak HTTP. What serves them is loaded when the first comes: most peers are never asked."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from p2p.concurrency.activity import Activity
from p2p.concurrency.bell import Bell
from p2p.control.protocol import AnyRequest, Emit
from p2p.discovery.discovery import Discovery
from p2p.gateway.shelf import Shelf
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic

Perform = Callable[[AnyRequest, Emit], Awaitable[Any]]
Speak = Callable[[trio.SocketStream], Awaitable[None]]


class Deps(msgspec.Struct, frozen=True):
    """What is served over HTTP. Made by `p2p.node`."""

    perform: Perform
    """Carries out a request of the user."""
    open_shares: OpenShares
    discovery: Discovery
    swarms: Swarms
    traffic: Traffic
    changes: Bell
    activity: Activity


class Door:
    """Serves a peer over HTTP, on connections that were accepted elsewhere."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._shelf = Shelf(deps.open_shares)
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
        from p2p.gateway.application import Gateway
        from p2p.web.application import speaking
        from p2p.web.events import Feed

        deps = self._deps
        gateway = Gateway(self._shelf, deps.discovery.mutable_links.resolve, deps.activity)
        feed = Feed(deps.perform, deps.changes, deps.swarms, deps.traffic)
        return speaking(gateway, deps.perform, feed, deps.activity)
