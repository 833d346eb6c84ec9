"""One connection's bytes: what comes is read in turns, and what is sent must be taken."""

from collections.abc import Awaitable, Callable

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

    async def receive_some(self) -> bytes:
        """Waits for bytes, and for a turn; b"" at the end. Raises BrokenResourceError, ClosedResourceError."""
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self.socket)
        await self.turn()
        return bytes(await self._stream.receive_some(READ_BYTES))

    async def send_all(self, data: bytes) -> None:
        """Sends all of it. Raises BrokenResourceError, ClosedResourceError."""
        view, due = memoryview(data), SLICE_BYTES
        with trio.move_on_after(STALLED_S) as patience:
            while view:
                try:
                    sent = await self.socket.send(view)
                except OSError as error:
                    raise trio.BrokenResourceError(str(error)) from error
                view = view[sent:]
                due -= sent
                if due <= 0:
                    due = SLICE_BYTES
                    patience.deadline = trio.current_time() + STALLED_S
        if patience.cancelled_caught:
            self.abort()
            raise trio.BrokenResourceError("the other side takes next to nothing")

    async def send_eof(self) -> None:
        """Says that nothing follows. Raises BrokenResourceError, ClosedResourceError."""
        await self._stream.send_eof()

    def abort(self) -> None:
        """Closes the connection at once."""
        self.socket.close()
