"""Connections that speak HTTP. What serves them is loaded when the first comes: most peers are never asked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from p2p.concurrency.accepting import CONNECTION
from p2p.gateway.shelf import Shelf
from p2p.web.deps import Deps

if TYPE_CHECKING:
    from p2p.web.speaking import Speaking

LOAD_AGAIN_S = 5.0


class Door:
    """Serves a peer over HTTP: connections that were accepted elsewhere, and those of listeners of its own."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._shelf = Shelf(deps.open_shares)
        self._loaded: Speaking | None = None
        self._is_loaded = trio.Event()
        self._loading = trio.Lock()
        self._speaking: set[trio.SocketStream] = set()

    async def run(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Gives requests their turns, and closes shares that nobody reads any more. Cancelled, closes all of them, and
        every connection.
        """
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._shelf.run)
                if listeners:
                    nursery.start_soon(self._listen, listeners)
                task_status.started()
                await self._is_loaded.wait()
                await (await self._load()).run()
        finally:
            for listener in listeners:
                listener.socket.close()
            for stream in self._speaking:
                stream.socket.close()

    async def speak(self, stream: trio.SocketStream) -> None:
        """Serves one connection to its end."""
        self._speaking.add(stream)
        try:
            await (await self._load()).speak(stream)
        finally:
            self._speaking.discard(stream)

    async def _listen(self, listeners: Sequence[trio.SocketListener]) -> None:
        from p2p.web.listening import until_asked

        while self._loaded is None:
            await until_asked(listeners)
            await CONNECTION.contain(self._load)
            if self._loaded is None:  # Shoal is being upgraded, say, or no descriptor is left
                await trio.sleep(LOAD_AGAIN_S)
        await self._loaded.serve(listeners)

    async def _load(self) -> "Speaking":
        async with self._loading:
            if self._loaded is None:
                self._loaded = await trio.to_thread.run_sync(self._make)
                self._is_loaded.set()
            return self._loaded

    def _make(self) -> "Speaking":
        from p2p.web.speaking import Speaking

        return Speaking(self._deps, self._shelf)
