"""One connection's bytes: what comes is read in turns, and what is sent must be taken."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import trio

STALLED_S = 30.0
SLICE_BYTES = 64 * 1024
"""How much the other side has to take in STALLED_S."""
READ_BYTES = 16 * 1024
"""How much is read at a time, so that others have their turns."""


class Stream:
    """A connection whose other side may say anything, and take nothing: then sending fails.

    What has come is read when it is the connection's `turn`.
    """

    def __init__(self, stream: trio.SocketStream, turn: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self.turn = turn
        self.socket = stream.socket

    def ends(self) -> tuple[Any, Any]:
        """The addresses of the other side, and of this one. Raises BrokenResourceError if the connection has ended."""
        try:
            return self.socket.getpeername(), self.socket.getsockname()
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def receive_some(self) -> bytes:
        """Waits for bytes, and for a turn; b"" at the end. Raises BrokenResourceError, ClosedResourceError."""
        while True:
            await self._until(trio.lowlevel.wait_readable)
            await self.turn()
            try:
                return os.read(self.socket.fileno(), READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: bytes | memoryview, took: Callable[[int], None] | None = None) -> None:
        """Sends all of it. `took` hears each time how many bytes more have gone, also if the rest is cancelled.

        Raises BrokenResourceError, ClosedResourceError.
        """
        view = memoryview(data)
        sent = self._send(view)
        if took is not None:
            took(sent)
        if sent == len(view):
            await trio.lowlevel.checkpoint()
        else:
            await self._go_on(view[sent:], took)

    async def _go_on(self, view: memoryview, took: Callable[[int], None] | None) -> None:
        due = SLICE_BYTES
        with trio.move_on_after(STALLED_S) as patience:
            while view:
                await self._until(trio.lowlevel.wait_writable)
                sent = self._send(view)
                if took is not None:
                    took(sent)
                view = view[sent:]
                due -= sent
                if due <= 0:
                    due, patience.deadline = SLICE_BYTES, trio.current_time() + STALLED_S
        self._stalled(patience)

    async def until_taken(self) -> None:
        """Waits until the other side takes some of what was sent. Raises BrokenResourceError, ClosedResourceError."""
        with trio.move_on_after(STALLED_S) as patience:
            await self._until(trio.lowlevel.wait_writable)
        self._stalled(patience)

    def _stalled(self, patience: trio.CancelScope) -> None:
        if patience.cancelled_caught:
            self.abort()
            raise trio.BrokenResourceError("the other side takes next to nothing")

    def _send(self, data: bytes | memoryview) -> int:
        """Sends as much as the system takes at once. Returns how many bytes."""
        try:
            return os.write(self.socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def _until(self, ready: Callable[[trio.socket.SocketType], Awaitable[None]]) -> None:
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError
        await ready(self.socket)

    async def send_eof(self) -> None:
        """Says that nothing follows. Raises BrokenResourceError, ClosedResourceError."""
        await self._stream.send_eof()

    def abort(self) -> None:
        """Closes the connection at once."""
        self.socket.close()
