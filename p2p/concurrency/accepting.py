"""Accepting: the loop that takes connections from a listening socket, each into a task of its own behind a wall."""

import errno
import logging
from collections.abc import Awaitable, Callable

import trio

from p2p import causes
from p2p.concurrency.walls import Wall

logger = logging.getLogger(__name__)

CONNECTION = Wall("connection")

OUT_OF_FILES_PAUSE_S = 0.1
WARNING_INTERVAL_S = 60.0
_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


async def accept(
    listener: trio.socket.SocketType,
    nursery: trio.Nursery,
    serve: Callable[[trio.socket.SocketType], Awaitable[object]],
) -> None:
    """Accepts until cancelled. `serve` runs in the nursery for each connection, and closes it.

    While no descriptor is left, connections wait in the operating system's queue.
    """
    warned = float("-inf")
    while True:
        try:
            accepted, _ = await listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_FILES:
                if trio.current_time() - warned > WARNING_INTERVAL_S:
                    logger.warning("cannot accept connections: %s", causes.explained(error))
                    warned = trio.current_time()
                await trio.sleep(OUT_OF_FILES_PAUSE_S)
            # Any other error, such as ECONNABORTED, concerns that one connection only.
            continue
        nursery.start_soon(_serve, serve, accepted)


async def _serve(
    serve: Callable[[trio.socket.SocketType], Awaitable[object]], accepted: trio.socket.SocketType
) -> None:
    try:
        await CONNECTION.contain(serve, accepted)
    finally:
        accepted.close()
