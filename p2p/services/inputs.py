"""Inputs of jobs: shares, had from the library or fetched from the swarm like any other, and read in pieces.

A volunteer keeps what it has fetched for later jobs, up to a bound, and serves it meanwhile: so inputs come from the
other volunteers as much as from the owner.
"""

import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from p2p.errors import NotFound, StorageError
from p2p.ids import ShareId, to_text
from p2p.jobs.cutting import Piece, Wish, at_lines
from p2p.services import fetch, finders, share
from p2p.services.callers import Callers
from p2p.services.fetch import Options
from p2p.services.local import Local
from p2p.services.manifests import ManifestFetch
from p2p.services.progress import Progress
from p2p.services.sources import Sources
from p2p.store.library import SharedFiles
from p2p.wire.link import Link, PeerHint

FOLDER = "volunteer"
LINE_KINDS = frozenset({"lines", "records", "chunks"})


class InputFiles:
    """One input share, whole on this machine. Blocking but for its making."""

    def __init__(self, files: SharedFiles) -> None:
        self._files = files
        layout = files.layout
        self._entries = {"/".join(layout.manifest.entries[entry].path): entry for entry in layout.files}

    def size(self, path: str) -> int:
        """The file's bytes. Raises NotFound."""
        return self._files.layout.manifest.entries[self._entry(path)].size

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Exactly these bytes. Raises NotFound, StorageError."""
        try:
            with self._files.reading(self._entry(path)) as (descriptor, _):
                return _exactly(descriptor, offset, size)
        except OSError as error:
            raise StorageError(f"Cannot read the input {path!r}: {error.strerror}.") from error

    def lines(self, path: str, offset: int, size: int, most: int) -> bytes:
        """The lines that belong to this range (`jobs.cutting`), at most so many bytes. Raises StorageError for more."""
        whole = self.size(path)
        piece = self._driven(path, at_lines(Piece(0, offset, size), whole))
        if piece.size > most:
            raise StorageError(f"A partition of {path!r} has {piece.size} bytes in its lines; {most} are allowed.")
        return self.read(path, piece.offset, piece.size)

    def _driven(self, path: str, cut: Generator[Wish, bytes, Piece]) -> Piece:
        try:
            wish = next(cut)
            while True:
                wish = cut.send(self.read(path, *wish))
        except StopIteration as end:
            piece: Piece = end.value
            return piece

    def _entry(self, path: str) -> int:
        entry = self._entries.get(path)
        if entry is None:
            raise NotFound(f"the input has no file {path!r}")
        return entry


def _exactly(descriptor: int, offset: int, size: int) -> bytes:
    pieces = []
    while size:
        piece = os.pread(descriptor, min(size, 1 << 24), offset)
        if not piece:
            raise StorageError("An input file is shorter than it was. It is fetched again by the next job.")
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return b"".join(pieces)


class Inputs:
    """The inputs that this peer has or is fetching for jobs; each is fetched once."""

    def __init__(self, local: Local, most_bytes: int) -> None:
        self._local = local
        self._most = most_bytes
        self._busy: dict[ShareId, trio.Lock] = {}
        self._used: dict[ShareId, int] = {}

    async def get(self, wanted: ShareId, hints: Sequence[PeerHint]) -> InputFiles:
        """Has the share here, fetching it if need be. Raises ShoalError."""
        lock = self._busy.setdefault(wanted, trio.Lock())
        async with lock:
            with suppress(NotFound):
                return await self._open(wanted)
            options = Options(folder=self._folder(wanted), keep_serving=True)
            await fetch.fetch(self._local, Link(wanted), hints, options, Progress())
            return await self._open(wanted)

    def use(self, wanted: ShareId) -> None:
        """A job needs it from now on."""
        self._used[wanted] = self._used.get(wanted, 0) + 1

    async def release(self, wanted: ShareId) -> None:
        """The job is over; what is past the bound, and nobody's, is dropped, the oldest first."""
        self._used[wanted] -= 1
        if not self._used[wanted]:
            del self._used[wanted]
            self._busy.pop(wanted, None)
        await self._trim()

    async def _open(self, wanted: ShareId) -> InputFiles:
        limiter = self._local.disk
        return InputFiles(await trio.to_thread.run_sync(SharedFiles, self._local.library, wanted, limiter=limiter))

    async def _trim(self) -> None:
        rows = await trio.to_thread.run_sync(self._local.library.shares)
        kept = [row for row in rows if row.fetched and row.paths and Path(row.paths[0]).is_relative_to(self._root)]
        held = 0
        for row in kept:  # the newest first
            held += row.size
            wanted = ShareId(row.id)
            if held > self._most and wanted not in self._used:
                await share.unshare(self._local, wanted)
                await trio.to_thread.run_sync(shutil.rmtree, self._folder(wanted), True)

    @property
    def _root(self) -> Path:
        return self._local.home / FOLDER / "inputs"

    def _folder(self, wanted: ShareId) -> Path:
        return self._root / to_text(wanted)


async def fetch_manifest(local: Local, link: Link, wait_s: float | None) -> None:
    """Has the manifest of a share here, and nothing more of it. Raises NotFound when nobody has it for `wait_s`."""
    fetching = ManifestFetch(local, link.share_id, local.library.limits)
    await trio.to_thread.run_sync(local.records.remember, link.share_id, local.home / "manifests")
    await fetching.start()
    progress = Progress()
    with trio.move_on_after(float("inf") if wait_s is None else wait_s):
        async with trio.open_nursery() as nursery:
            callers = Callers(local, link.share_id, fetching.work, lambda peer: False, progress)
            sources = Sources(local, nursery, fetching.work, lambda peer: False, lambda peer: 0, progress, callers)
            for hint in link.peers:
                sources.add(hint)
            nursery.start_soon(finders.find, local, link, sources, progress.note)
            await fetching.ready.wait()
            nursery.cancel_scope.cancel()
    if not fetching.ready.is_set():
        raise NotFound(f"Nobody had the input for {wait_s:g} seconds.")
