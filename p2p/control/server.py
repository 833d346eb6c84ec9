"""The control socket: how commands reach the peer that runs in their home.

A Unix socket in the home, for its user alone: the folder is 0700, the socket 0600, and the other end's user is
checked by the kernel's word. It is never HTTP, so no web page in the user's browser can reach it.
"""

import errno
import hashlib
import logging
import os
import socket
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from p2p.control import protocol as requests
from p2p.control.protocol import Answer, AnyRequest, Event, Failure
from p2p.errors import NotFound, PeerGone, ShoalError, StorageError

if TYPE_CHECKING:
    from p2p.control.operations import Emit
    from p2p.peer_context import Local

logger = logging.getLogger(__name__)

SOCKET_FILE = "control.sock"
MAX_PATH_BYTES = 100
MAX_CLIENTS = 32
_CREDENTIALS = struct.Struct("3i")


def socket_path(home: Path) -> Path:
    """Where the socket of a home is: in it, or where its path would be too long for a socket, in the runtime folder."""
    path = home.absolute() / SOCKET_FILE
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        return path
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or Path(tempfile.gettempdir()) / f"shoal-{os.getuid()}")
    return runtime / f"shoal-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


async def run(local: "Local", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serves the socket until cancelled. The caller holds the home's lock, so a socket file found there is dead.

    Raises StorageError where there can be no socket.
    """
    path = socket_path(local.home)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.parent.stat().st_uid != os.getuid():
                raise PermissionError(errno.EPERM, "its folder belongs to somebody else")
            path.unlink(missing_ok=True)
            await listener.bind(str(path))
            path.chmod(0o600)
        except OSError as error:
            raise StorageError(
                f"Cannot make the control socket {path}: {error.strerror or error}. Choose a --home with a shorter "
                "path on a local disk, or set XDG_RUNTIME_DIR to a folder of your own."
            ) from error
        listener.listen(MAX_CLIENTS)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    accepted, _ = await listener.accept()
                    nursery.start_soon(_serve_counted, local, trio.SocketStream(accepted))
        finally:
            path.unlink(missing_ok=True)


async def _serve_counted(local: "Local", stream: trio.SocketStream) -> None:
    with local.command():
        await _serve(local, stream)


async def _serve(local: "Local", stream: trio.SocketStream) -> None:
    """One request, to its end or until the other side hangs up."""
    sending = trio.Lock()

    async def emit(event: Event) -> None:
        async with sending:
            await stream.send_all(requests.encode(event))

    async def watch(scope: trio.CancelScope) -> None:
        while await stream.receive_some():
            pass
        scope.cancel()

    async with stream:
        if not _is_own_user(stream):
            logger.warning("somebody else tried the control socket")
            return
        try:
            line = await _line(stream)
            with trio.CancelScope() as scope:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(watch, scope)
                        last = await _outcome(local, line, emit)
                        nursery.cancel_scope.cancel()
                    await emit(last)
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
        except (trio.BrokenResourceError, ShoalError) as error:
            logger.debug("a command went away: %s", error)


async def _outcome(local: "Local", line: bytes, emit: "Emit") -> Event:
    from p2p.control.operations import perform  # late: a command that only asks starts faster without it

    try:
        return Answer(await perform(local, requests.decode_request(line), emit, keep_serving=True))
    except ShoalError as error:
        return Failure(type(error).__name__, str(error))


async def ask(home: Path, request: AnyRequest, emit: "Emit") -> Any:
    """Has the peer running in the home perform a request; returns the answer.

    Raises the ShoalError that the peer raised, and PeerGone where none runs or it stops meanwhile.
    """
    stream = await _connect(home)
    if stream is None:
        raise PeerGone(f"No peer is running in {home}. Start one with `shoal node`.")
    async with stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(requests.encode(request))
            buffer = bytearray()
            async for data in stream:
                buffer += data
                while (end := buffer.find(b"\n")) >= 0:
                    event = requests.decode_event(bytes(buffer[:end]))
                    del buffer[: end + 1]
                    match event:
                        case Answer(value):
                            return value
                        case Failure():
                            raise event.error()
                        case _:
                            await emit(event)
    again = "repeat the command"
    if isinstance(request, requests.Run | requests.Resume):
        again = "`shoal jobs` lists the job, `shoal run --resume ID` goes on with it"
    raise PeerGone(f"The running peer stopped before it had answered. Start it again; {again}.")


async def is_running(home: Path) -> bool:
    """Whether a peer answers in this home."""
    stream = await _connect(home)
    if stream is None:
        return False
    await stream.aclose()
    return True


async def _connect(home: Path) -> trio.SocketStream | None:
    """A connection to the peer of this home, or None where none runs that is this user's."""
    try:
        stream = await trio.open_unix_socket(socket_path(home))
    except OSError:
        return None
    if _is_own_user(stream):
        return stream
    await stream.aclose()
    return None


async def _line(stream: trio.SocketStream) -> bytes:
    buffer = bytearray()
    while b"\n" not in buffer:
        data = await stream.receive_some()
        if not data:
            raise NotFound("the command hung up")
        buffer += data
        if len(buffer) > requests.MAX_LINE_BYTES:
            raise NotFound("the command said too much")
    return bytes(buffer[: buffer.index(b"\n")])


def _is_own_user(stream: trio.SocketStream) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket's mode has to do
    packed = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(packed)
    return user in {os.getuid(), 0}
