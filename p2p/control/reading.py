"""Reads a share for the user without fetching it whole: lists a folder, or sends a file piece by piece."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import trio

from p2p import ids
from p2p.control.answers import CatAnswer
from p2p.control.protocol import Emit, Piece
from p2p.core.shares import folders
from p2p.errors import ConfigError, NotFound
from p2p.formats import quoted
from p2p.ids import ShareId
from p2p.sharing.listing import Listing
from p2p.sharing.reading import folder
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.reading.patience import Nobody, patiently
from p2p.wire.link import PeerHint

PIECE_BYTES = 256 * 1024
AHEAD_BYTES = 16 * 1024 * 1024

T = TypeVar("T")


class ReadShare:
    """A share that is read for one request of the user."""

    def __init__(self, held: OpenShare, wait_s: float) -> None:
        self._held = held
        self._wait_s = wait_s

    async def listing(self, path: str, after: str) -> Listing:
        """Lists a folder, or a file by itself. Raises ConfigError if the share has neither; NotFound, ShoalError."""
        manifest = (await self._read(self._held.layout)).manifest
        parts = _parts(path)
        if (file := folders.file_at(manifest.entries, parts)) is not None:
            return Listing(ids.to_text(manifest.share_id), manifest.root.name, "/".join(parts), (folder.row(file),))
        if not folders.is_folder(manifest.entries, parts):
            raise ConfigError(f"The share has no {quoted(path)}. `shoal ls` shows what it has.")
        return await trio.to_thread.run_sync(folder.listing, manifest, parts, after)

    async def send(self, path: str, emit: Emit) -> CatAnswer:
        """Sends a file. Raises ConfigError if the share has none with this path; NotFound, ShoalError."""
        manifest = (await self._read(self._held.layout)).manifest
        parts = _parts(path)
        file = folders.file_at(manifest.entries, parts)
        if file is None:
            raise ConfigError(f"The share has no file {quoted(path)}. `shoal ls` shows what it has.")
        held, name = self._held, "/".join(parts)
        for at in range(0, file.size, PIECE_BYTES):
            size = min(PIECE_BYTES, file.size - at)
            await self._read(partial(held.expect, name, at, min(AHEAD_BYTES, file.size - at)))
            await emit(Piece(await self._read(partial(held.read, name, at, size))))
        return CatAnswer(file.size)

    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        try:
            return await patiently(self._held, self._wait_s, read)
        except Nobody as error:
            raise NotFound(str(error)) from error  # which commands know


@asynccontextmanager
async def reading(
    open_shares: OpenShares, share: ShareId, hints: Sequence[PeerHint], trackers: Sequence[str], wait_s: float
) -> AsyncIterator[ReadShare]:
    """Opens a share while the body runs. `wait_s` is how long to wait while nothing of it comes."""
    held = open_shares.open(share, hints, trackers)
    try:
        yield ReadShare(held, wait_s)
    finally:
        await open_shares.release(held)


def _parts(path: str) -> folders.Path:
    return tuple(part for part in path.split("/") if part)
