"""Finds chunks that need no network: in files that this peer shares, and in an earlier version of the share."""

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from p2p.core.shares import bitmap
from p2p.core.shares.layout import ChunkPlace
from p2p.core.shares.manifest import hash_chunk
from p2p.errors import BadData, NotFound
from p2p.ids import PeerId, ShareId
from p2p.progress import Progress
from p2p.sharing.fetching.deps import Deps
from p2p.store.library import Library, SharedFiles
from p2p.store.pointers import Pointers
from p2p.store.previous_version import Earlier
from p2p.store.stamps import Stamp
from p2p.store.target import Target


class Files(Protocol):
    """Files of this machine that have chunks of the share."""

    @property
    def held(self) -> int:
        """The chunks, as a bitmap."""

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        """Opens the entry's file for the body. Gives a descriptor, and the stamp to check, if any. Raises OSError."""


async def from_library(deps: Deps, share: ShareId, target: Target, progress: Progress) -> None:
    """Copies chunks of a share that is in the library, verifying each. Raises NotFound if it is not there."""
    files = await deps.disk.run(SharedFiles, deps.library, share)
    progress.state = "copying from this peer's own share"

    for chunk in bitmap.members(files.held & target.wanted & ~target.held):
        if await deps.disk.run(copied, target, chunk, files):
            progress.done += target.layout.size(chunk)


def copied(target: Target, chunk: int, files: Files) -> bool:
    """Copies one chunk of the share to its target. Returns False if the files do not have it. Blocking."""
    place = target.layout.place(chunk)
    with suppress(OSError), files.reading(place.entry) as (descriptor, _):
        return _copy(target, chunk, descriptor, place)
    return False


async def from_earlier(deps: Deps, earlier: Earlier, target: Target, progress: Progress) -> None:
    """Copies the chunks that an earlier version has too, verifying each."""
    progress.state = "copying from the version before"
    layout = target.layout

    def copy(chunk: int, place: ChunkPlace) -> bool:
        with suppress(OSError), earlier.reading(place.entry) as descriptor:
            return _copy(target, chunk, descriptor, place)
        return False

    for chunk in bitmap.members(target.wanted & ~target.held):
        place = earlier.place(layout.hash(chunk))
        if place is not None and await deps.disk.run(copy, chunk, place):
            progress.done += layout.size(chunk)


def find_earlier(library: Library, pointers: Pointers, folder: Path, publisher: PeerId, name: str) -> Earlier | None:
    """The version of a pointer that was fetched into the folder before. Blocking."""
    version = pointers.version(publisher, name, folder)
    if version is None:
        return None
    try:
        return Earlier(library.layout(version.share), folder, version.stamps, version.names)
    except (NotFound, BadData, ValueError):
        return None


def _copy(target: Target, chunk: int, descriptor: int, source: ChunkPlace) -> bool:
    """Copies one chunk if its bytes still have the right hash. Blocking."""
    data = os.pread(descriptor, source.size, source.offset)
    if len(data) == source.size and hash_chunk(data) == target.layout.hash(chunk):
        target.write(chunk, target.layout.place(chunk), memoryview(data))
        return True
    return False
