"""Joins, in memory or in files, data that was sent in pieces because it was too large for one message."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import trio

from p2p import causes, private
from p2p.errors import ProtocolViolation, StorageError
from p2p.store.disk import Disk
from p2p.wire import work

MAX_SPOOLED_BYTES = 4 * 1024**3
"""The most bytes spooled for one volunteer at a time, whatever it claims."""
MAX_SPOOLED = 2 * 4096
"""The most things spooled for one volunteer at a time: two for each slot that it may get, because its slots are not
known at first.
"""
THING_BYTES = 256
"""Roughly how many bytes a thing takes besides its own."""


class Reassembly:
    """Joins pieces of results or outputs in memory, up to `most` bytes in total; pieces of several may alternate."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._things: dict[bytes, tuple[bytearray, int]] = {}

    def add(self, piece: work.Bytes) -> bool:
        """Takes a piece. Returns whether its thing is now complete. Raises ProtocolViolation."""
        if piece.of not in self._things:
            self._things[piece.of] = bytearray(), piece.total
            self._held += THING_BYTES
        body, total = self._things[piece.of]
        _check(piece, len(body), total)
        self._held += len(piece.body)
        if self._held > self._most:
            raise ProtocolViolation("more bytes than there is room for")
        body += piece.body
        return len(body) == total

    def pop(self, of: bytes) -> bytes | None:
        """Removes a thing and returns the part of it that has arrived, or None if nothing of it has."""
        found = self._things.pop(of, None)
        if found is None:
            return None
        self._held -= len(found[0]) + THING_BYTES
        return bytes(found[0])


class SpooledReassembly:
    """Joins the pieces of the outputs that one volunteer sends.

    Each output goes to a file of its own in `folder`, and may have up to `most` bytes.
    """

    def __init__(self, disk: Disk, folder: Path, most: int) -> None:
        self._disk = disk
        self._folder = folder
        self.most = most
        self._number = 0
        self._promised = 0
        self._things: dict[bytes, tuple[Path, int, int]] = {}

    async def add(self, piece: work.Bytes) -> None:
        """Takes a piece. Raises ProtocolViolation, StorageError."""
        if piece.of not in self._things:
            room = MAX_SPOOLED_BYTES - self._promised
            if piece.total > min(self.most, room) or len(self._things) >= MAX_SPOOLED:
                raise ProtocolViolation("more bytes than there is room for")
            self._number += 1
            self._promised += piece.total
            self._things[piece.of] = self._folder / str(self._number), 0, piece.total
        path, held, total = self._things[piece.of]
        _check(piece, held, total)
        try:
            await self._disk.run(_append, path, piece.body)
        except OSError as error:
            raise StorageError(
                f"Cannot keep what a volunteer sends in {self._folder}: {causes.explained(error)}"
            ) from error
        self._things[piece.of] = path, held + len(piece.body), total

    def take(self, of: bytes) -> Path | None:
        """Returns the file of a complete thing, which then belongs to the caller. None if the thing is not complete."""
        path, held, total = self._things.get(of, (None, 0, 1))
        if path is None or held != total:
            return None
        del self._things[of]
        self._promised -= total
        return path

    async def drop(self, of: Sequence[bytes]) -> None:
        """Drops whatever has arrived of these things."""
        for path, _, total in [self._things.pop(one) for one in of if one in self._things]:
            self._promised -= total
            with suppress(OSError):
                await self._disk.run(path.unlink)

    async def clear(self) -> None:
        """Removes everything that was not taken."""
        self._things.clear()
        with trio.CancelScope(shield=True):
            await self._disk.run(shutil.rmtree, self._folder, True)


def _check(piece: work.Bytes, held: int, total: int) -> None:
    if piece.offset != held or piece.total != total or held + len(piece.body) > total:
        raise ProtocolViolation("pieces out of order")


def _append(path: Path, body: bytes) -> None:
    private.make_folder(path.parent)
    with open(path, "ab", opener=private.opener) as file:
        file.write(body)
