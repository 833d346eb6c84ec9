"""Sends requests to the peer that runs in a home, over its control socket."""

import os
from pathlib import Path
from typing import Any

import trio

from p2p.control import protocol
from p2p.control.path import is_own_user, socket_path
from p2p.control.protocol import Answer, AnyRequest, Emit, Failure
from p2p.errors import PeerGone


class NotTaken(PeerGone):
    """The peer stopped before it had read the request, so another may be asked."""


async def ask(home: Path, request: AnyRequest, emit: Emit) -> Any:
    """Sends a request to the peer running in the home. Returns the answer.

    Raises the ShoalError that the peer raised; NotTaken if no peer runs, or not long enough to read the request;
    PeerGone if it stops before it has answered.
    """
    stream = await _connect(home)
    if stream is None:
        raise NotTaken(f"No peer is running in {home}. Start one with `shoal node`.")
    buffer, was_read = bytearray(), False
    async with stream:
        try:
            await stream.send_all(protocol.encode(request))
            async for data in stream:
                was_read = True
                buffer += data
                while (end := buffer.find(b"\n")) >= 0:
                    event = protocol.decode_event(bytes(buffer[:end]))
                    del buffer[: end + 1]
                    match event:
                        case Answer(value):
                            return protocol.read_answer(request, value)
                        case Failure():
                            raise event.error()
                        case _:
                            await emit(event)
        except trio.BrokenResourceError as error:
            # The kernel resets a connection if the other side never read what was sent; otherwise it just ends.
            if not was_read:
                raise NotTaken("The running peer stopped before it had read the request. Try again.") from error
    again = "repeat the command"
    if isinstance(request, protocol.RunRequest | protocol.ResumeRequest):
        again = "`shoal jobs` lists the job, `shoal run --resume ID` goes on with it"
    raise PeerGone(f"The running peer stopped before it had answered. Start it again; {again}.")


async def is_running(home: Path) -> bool:
    """Whether a peer in this home answers."""
    stream = await _connect(home)
    if stream is None:
        return False
    await stream.aclose()
    return True


async def _connect(home: Path) -> trio.SocketStream | None:
    """Connects to the peer of this home. Returns None if none is running there that this user may use.

    That is a peer of this user or of root; root may use every user's, such as one that runs as a service.
    """
    try:
        stream = await trio.open_unix_socket(socket_path(home))
    except OSError:
        return None
    if os.getuid() == 0 or is_own_user(stream):
        return stream
    await stream.aclose()
    return None
