"""Sends requests to the peer that runs in a home, over its control socket."""

from pathlib import Path
from typing import Any

import trio

from p2p.control import protocol
from p2p.control.path import may_ask, socket_path
from p2p.control.protocol import AnyRequest, Emit
from p2p.control.reply import NotTaken as NotTaken
from p2p.control.reply import Reply, nobody

_AGAIN = "Start it again; repeat the command"
_GO_ON = "Start it again; `shoal jobs` lists the job, `shoal resume ID` goes on with it"


async def ask(home: Path, request: AnyRequest, emit: Emit) -> Any:
    """Sends a request to the peer running in the home. Returns the answer.

    Raises the ShoalError that the peer raised; NotTaken if no peer runs, or not long enough to read the request;
    PeerGone if it stops before it has answered.
    """
    stream = await _connect(home)
    if stream is None:
        raise nobody(home)
    reply, reset = Reply(request), None
    async with stream:
        try:
            await stream.send_all(protocol.encode(request))
            async for data in stream:
                for event in reply.feed(data):
                    await emit(event)
                if reply.is_whole:
                    return reply.answer()
        except trio.BrokenResourceError as error:
            reset = error
    raise reply.broken_off(reset=reset is not None, again=_AGAIN, go_on=_GO_ON) from reset


async def is_running(home: Path) -> bool:
    """Whether a peer in this home answers."""
    stream = await _connect(home)
    if stream is None:
        return False
    await stream.aclose()
    return True


async def _connect(home: Path) -> trio.SocketStream | None:
    """Connects to the peer of this home. Returns None if none is running there that this user may use."""
    try:
        stream = await trio.open_unix_socket(socket_path(home))
    except OSError:
        return None
    if may_ask(stream.socket):
        return stream
    await stream.aclose()
    return None
