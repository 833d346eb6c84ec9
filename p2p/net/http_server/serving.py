"""A server for strangers: accepts connections, has HTTP spoken on each once its first bytes are there, and stops
gracefully.

The number of connections is limited per address, and in total: networks share them (`connections`), and a connection
that finds no place is closed immediately. What comes is read in turns (`turns`). A connection is also closed if its
client accepts no bytes for a while.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from starlette.types import ASGIApp

from p2p.concurrency.accepting import accept_each, serve_one
from p2p.net.http_server.connections import Connections
from p2p.net.http_server.speaking import Speaker
from p2p.net.http_server.stream import Stream
from p2p.net.http_server.turns import Turns
from p2p.wire.address import canonical

Welcome = Callable[[Stream], Awaitable[bool]]
"""Whether a connection is served; tells its client if it is not. Raises BrokenResourceError, ClosedResourceError.

It is asked before anything is said, so that whoever is not served holds no place by silence.
"""

GRACE_TIMEOUT_S = 3.0
"""How long answers under way may still take once the server is told to stop."""


async def serve(
    listeners: Sequence[trio.SocketListener],
    application: ASGIApp,
    connections: Connections,
    turns: Turns,
    stop: trio.Event,
    stopped: trio.Event,
    *,
    welcome: Welcome | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accepts connections until told to stop, then gives the answers under way some time to finish."""
    speaker = Speaker(application)
    speak = partial(_speak, speaker, connections, turns, welcome)
    try:
        async with trio.open_nursery() as speaking:
            try:

                def take(accepted: socket.socket) -> None:
                    speaking.start_soon(serve_one, speak, trio.socket.from_stdlib_socket(accepted))

                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(accept_each, listener.socket, take)
                    task_status.started()
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                for listener in listeners:
                    listener.socket.close()
                await speaker.end()
                with trio.move_on_after(GRACE_TIMEOUT_S):
                    await connections.ended()
            finally:
                connections.abort()
            speaking.cancel_scope.cancel()
    finally:
        for listener in listeners:
            listener.socket.close()
        stopped.set()


async def _speak(
    speaker: Speaker,
    connections: Connections,
    turns: Turns,
    welcome: Welcome | None,
    accepted: trio.socket.SocketType,
) -> None:
    """Serves one connection to its end."""
    try:
        host = canonical(accepted.getpeername()[0])
    except OSError:
        accepted.close()
        return
    # Of a proxy, all its clients would share the turns; whoever admits its requests knows who they are.
    turn = trio.lowlevel.checkpoint if connections.is_proxy(host) else partial(turns.wait, host)
    stream = Stream(trio.SocketStream(accepted), turn)
    if not connections.admit(stream, host):
        stream.abort()
        return
    try:
        if (welcome is None or await welcome(stream)) and await connections.speaks(stream):
            await turn()
            await speaker.speak(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # it ended before it was served
    finally:
        connections.leave(stream, host)
        stream.abort()
