"""Doors: ports of the owner's 127.0.0.1 that lead into a cluster's network, for the owner's programs alone.

Whoever can connect to an engine can run programs on all members. So a door accepts only connections of the user whose
peer this is: on Linux the kernel says whose they are. Where nobody can tell, they are refused.

A raw door is for protocols of engines. What browsers look at goes through `http_door` instead.
"""

import logging
import os
from collections.abc import Awaitable, Callable

import trio

from p2p import causes
from p2p.concurrency.accepting import accept
from p2p.errors import ConfigError, SandboxFailed
from p2p.net.users import owner_of
from p2p.places import Seats

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_CLIENTS = 256
CONNECT_TIMEOUT_S = 10.0
PIECE_BYTES = 64 * 1024
_BACKLOG = 128

Connect = Callable[[str, int], Awaitable[trio.SocketStream]]
"""Connects with a host and port of the cluster's network. Raises OSError, SandboxFailed."""
Reach = Callable[[], Awaitable[trio.SocketStream]]
"""Connects with where a door leads. Raises OSError, SandboxFailed, TooSlowError."""
Speak = Callable[[trio.SocketStream, Reach], Awaitable[None]]
"""Serves one client of a door. Raises what `Reach` and streams raise, and TooSlowError."""


class Doors:
    """The doors of one cluster; their clients share the places."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._clients: Seats[trio.socket.SocketType] = Seats("clients of doors", MAX_CLIENTS)

    async def serve(
        self,
        host: str,
        port: int,
        local: int = 0,
        speak: Speak | None = None,
        *,
        task_status: trio.TaskStatus[int],
    ) -> None:
        """Opens a door to a host and port, at a port of this machine (0: any), which it starts with, until cancelled.

        Without `speak`, it is a raw one. Raises ConfigError if the port is taken.
        """
        with trio.socket.socket() as listener:
            try:
                await listener.bind((LOOPBACK, local))
            except OSError as error:
                raise ConfigError(
                    f"Cannot listen on {LOOPBACK}:{local}: {causes.explained(error, 'Choose another port.')}"
                ) from error
            listener.listen(_BACKLOG)

            async def welcome(client: trio.socket.SocketType) -> None:
                await self._welcome(client, host, port, speak or pass_on)

            async with trio.open_nursery() as nursery:
                task_status.started(listener.getsockname()[1])
                await accept(listener, nursery, welcome)

    async def _welcome(self, client: trio.socket.SocketType, host: str, port: int, speak: Speak) -> None:
        ends = client.getpeername()[:2], client.getsockname()[:2]
        if not self._clients.enter(client, LOOPBACK).admitted:
            logger.warning("%d programs use the doors of a cluster already: one more was turned away", MAX_CLIENTS)
            return
        try:
            if await trio.to_thread.run_sync(owner_of, *ends) != os.geteuid():
                logger.warning("a program of another user wanted to connect with a cluster, and was refused")
                return

            async def reach() -> trio.SocketStream:
                with trio.fail_after(CONNECT_TIMEOUT_S):
                    return await self._connect(host, port)

            await speak(trio.SocketStream(client), reach)
        except* (OSError, SandboxFailed, trio.TooSlowError) as group:
            logger.debug("the door to %s:%d: %s", host, port, group.exceptions[0])
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one of the ends has gone
        finally:
            self._clients.leave(client)


async def pass_on(client: trio.SocketStream, reach: Reach) -> None:
    """Serves a client of a raw door."""
    async with await reach() as inside:
        await carry(client, inside)


async def carry(client: trio.SocketStream, inside: trio.SocketStream) -> None:
    """Carries bytes both ways, until both ends have said all."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pour, client, inside)
        nursery.start_soon(pour, inside, client)


async def pour(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    """Carries bytes one way, until one end has said all."""
    while piece := await source.receive_some(PIECE_BYTES):
        await sink.send_all(piece)
    await sink.send_eof()
