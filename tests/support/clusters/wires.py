"""A wire between two peers that a test can cut, or make silent: then nothing comes, and nobody is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Wire:
    """Leads from a port of its own to another on loopback."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._carries = trio.Event()
        self._carries.set()
        self._scopes: set[trio.CancelScope] = set()

    def hush(self) -> None:
        """Carries nothing from now on."""
        self._carries = trio.Event()

    def speak(self) -> None:
        """Carries on with all that has come meanwhile."""
        self._carries.set()

    def cut(self) -> None:
        """Ends all connections at once; new ones can be made."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, near: trio.SocketStream) -> None:
        """Carries one connection to its end."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with (
                    near,
                    await trio.open_tcp_stream("127.0.0.1", self._target) as far,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._carry, near, far, nursery.cancel_scope)
                    await self._carry(far, near, nursery.cancel_scope)
            finally:
                self._scopes.discard(scope)

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for piece in source:
                await self._carries.wait()
                await sink.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await self._carries.wait()
        scope.cancel()


@asynccontextmanager
async def wire(target: int) -> AsyncIterator[Wire]:
    """A wire to a port."""
    made = Wire(target)
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        made.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, made.serve, [listener])
        yield made
        nursery.cancel_scope.cancel()
