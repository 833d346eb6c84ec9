"""What a program in a sandbox prints: read as fast as it comes, kept up to a size, the oldest dropped first.

So a reader that does not come never stops the program; only one that prints faster than is reasonable is slowed down.
"""

import os

import trio

KEPT_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_PAUSE_S = 0.004
"""Between pieces: at most 16 MB a second, and 250 wakes."""


class Output(trio.abc.ReceiveStream):
    """The read end of a pipe, which `run` empties. A reader gets what is kept, and a note of what was dropped."""

    def __init__(self, pipe: int) -> None:
        self._pipe = trio.lowlevel.FdStream(pipe)
        self._wanted = trio.CancelScope()
        self._kept = bytearray()
        self._dropped = 0
        self._ended = False
        self._news = trio.Event()

    async def run(self) -> None:
        """Reads until all who could write are gone, or nobody wants it."""
        with self._wanted:
            async with self._pipe:
                await self._read()
        self.end()

    def drop(self) -> None:
        """Reads no more, whoever holds on to the other end."""
        self._wanted.cancel()

    async def _read(self) -> None:
        while piece := await self._pipe.receive_some(_PIECE_BYTES):
            self._kept += piece
            if (beyond := len(self._kept) - KEPT_BYTES) > 0:
                del self._kept[:beyond]
                self._dropped += beyond
            self._ring()
            await trio.sleep(_PAUSE_S)

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._ring()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What was printed since the last call; empty at the end."""
        await trio.lowlevel.checkpoint()
        while not self._kept and not self._ended:
            await self._news.wait()
        if self._dropped:
            note, self._dropped = f"\n[{self._dropped} bytes were dropped here]\n".encode(), 0
            return note
        piece = bytes(self._kept[:max_bytes])
        del self._kept[: len(piece)]
        return piece

    async def aclose(self) -> None:
        """Does nothing: the program goes on, and so does the reading."""
        await trio.lowlevel.checkpoint()

    def _ring(self) -> None:
        self._news.set()
        self._news = trio.Event()


def pipe_for(uid: int, gid: int) -> tuple[int, int]:
    """A pipe, its ends for reading and writing, that programs of this user may also open by /dev/stdout."""
    read, write = os.pipe2(os.O_CLOEXEC)
    if os.geteuid() == 0:
        os.fchown(write, uid, gid)
    return read, write
