"""Accepting: the loop that takes connections from a listening socket, each into a task of its own behind a wall."""

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable

import trio

from p2p import causes
from p2p.concurrency.walls import Wall

logger = logging.getLogger(__name__)

CONNECTION = Wall("connection")

AT_ONCE = 4
"""How many are accepted before other tasks have their turns."""
OUT_OF_FILES_PAUSE_S = 0.1
WARNING_INTERVAL_S = 60.0
_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


async def accept(
    listener: trio.socket.SocketType,
    nursery: trio.Nursery,
    serve: Callable[[trio.socket.SocketType], Awaitable[object]],
) -> None:
    """Accepts until cancelled. `serve` runs in the nursery for each connection, and closes it."""

    def take(accepted: socket.socket) -> None:
        nursery.start_soon(serve_one, serve, trio.socket.from_stdlib_socket(accepted))

    await accept_each(listener, take)


async def accept_each(listener: trio.socket.SocketType, take: Callable[[socket.socket], None]) -> None:
    """Accepts until cancelled, several at once if they are there. `take` sees to it that each is closed.

    While no descriptor is left, connections wait in the operating system's queue.
    """
    warned = float("-inf")
    with socket.socket(fileno=os.dup(listener.fileno())) as own:
        own.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(own)
            try:
                for _ in range(AT_ONCE):
                    take(own.accept()[0])
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    if trio.current_time() - warned > WARNING_INTERVAL_S:
                        logger.warning("cannot accept connections: %s", causes.explained(error))
                        warned = trio.current_time()
                    await trio.sleep(OUT_OF_FILES_PAUSE_S)
                # Any other error, such as ECONNABORTED, concerns that one connection only.


async def serve_one(
    serve: Callable[[trio.socket.SocketType], Awaitable[object]], accepted: trio.socket.SocketType
) -> None:
    """Has a connection served. Whatever goes wrong concerns it alone, and it is closed."""
    try:
        await CONNECTION.contain(serve, accepted)
    finally:
        accepted.close()
