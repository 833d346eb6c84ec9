"""Inputs of jobs: shares of which units read ranges, had from the library or fetched from the swarm as they are needed.

All jobs that read a share do so through one `Held`. What was fetched is kept for later jobs, whole or in part, up to a
bound; while a job needs it, it is served too: so inputs come from the other volunteers as much as from the owner.

Where the bound is reached, shares go that no job needs, the longest unused first; then what was fetched of those that
jobs need, all but what units are reading at the moment: it is fetched again, if units come back to it.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

import trio

from p2p.core.layout import Layout
from p2p.core.manifest import chunk_bytes
from p2p.errors import JobError, NotFound, ShoalError, StorageError
from p2p.ids import ShareId, short
from p2p.jobs.cutting import Piece, at_lines
from p2p.services import finders, share
from p2p.services.callers import Callers
from p2p.services.local import Local
from p2p.services.manifests import ManifestFetch
from p2p.services.progress import Progress
from p2p.services.ranges import PATIENCE_S, Ranges
from p2p.services.sources import Sources
from p2p.store.cache import Cache
from p2p.store.library import SharedFiles, Stamp
from p2p.wire.link import Link, PeerHint

logger = logging.getLogger(__name__)

FOLDER = "volunteer"
LINE_KINDS = frozenset({"lines", "records", "chunks"})
MOST_HINTS = 256
READ_BYTES = 1 << 24
RELEASE_S = 10.0
READERS_S = 30.0
"""So long those who read a share are waited for, before it is dropped to make room: then they begin again."""


class Whole:
    """A share of the library, as readers see it: `Ranges` of which nothing is missing."""

    def __init__(self, files: SharedFiles) -> None:
        self._files = files
        self.usable = True
        self.whole = True
        self.taken = self.fetched = 0

    def add(self, hint: PeerHint) -> None:
        """Nobody needs to be asked."""

    async def layout(self) -> Layout:
        return self._files.layout

    def original(self, entry: int) -> int:
        return entry

    def more(self, chunks: int) -> int:
        """Nothing more is needed."""
        return 0

    def want(self, chunks: int) -> None:
        """They are here."""

    async def have(self, chunks: int) -> None:
        await trio.lowlevel.checkpoint()

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        return self._files.reading(entry)

    async def changed(self, entry: int, error: StorageError) -> None:
        """The file is not what was shared: neither the library nor readers trust it any more."""
        self.usable = False
        await trio.to_thread.run_sync(self._files.changed, entry)

    def stop(self) -> None:
        """There is nothing to end."""

    async def close(self) -> None:
        """Nor to wait for."""


Parts = Whole | Ranges
Use = Callable[[Parts, Layout, int], Awaitable[bytes]]
"""Reads something of an entry, given by its number."""


class Held:
    """One input share, as the units of all jobs here read it. Made by `Inputs.use`.

    Its methods raise NotFound for a path that the share does not have, and where nobody had the bytes for a while;
    StorageError; ShoalError for whatever else keeps the share from being fetched. The next read tries again.
    """

    def __init__(self, inputs: "Inputs", wanted: ShareId) -> None:
        self.share = wanted
        self.users = 0
        self.hints: dict[PeerHint, None] = {}
        self.joined = False
        """Whether this peer's user is among its readers: see `services.joining`."""
        self.parts: Parts | None = None
        self.ranges: Ranges | None = None
        """Those of its parts that are fetched, or were last."""
        self._inputs = inputs
        self._opening = trio.Lock()
        self._entries: dict[str, int] = {}
        self._readers = 0
        self._unread = trio.Event()
        self._fetching: Parts | None = None
        self._fetched_before = 0

    @property
    def fetched(self) -> int:
        """Bytes that came of it over the network, for whichever job."""
        return self._fetched_before + (0 if self._fetching is None else self._fetching.fetched)

    @property
    def taken(self) -> int:
        """Bytes that it takes of the disk, with those that are on their way: until all of it is dropped."""
        return 0 if self._fetching is None else self._fetching.taken

    def add(self, hints: Sequence[PeerHint]) -> None:
        """More addresses at which it may be had."""
        for hint in hints:
            if hint not in self.hints and len(self.hints) < MOST_HINTS:
                self.hints[hint] = None
                if self.parts is not None:
                    self.parts.add(hint)

    async def expect(self, path: str, offset: int, size: int) -> None:
        """These bytes, as far as the file has them, will be read: has them fetched, without waiting for them.

        Nothing is dropped for them: what does not fit now is fetched when it is read.
        """
        parts, layout = await self._open()
        chunks = _chunks(parts, layout, self._entry(path), offset, size)
        more = parts.more(chunks)
        if more and parts is self.parts and self._inputs.has_room(more):
            parts.want(chunks)

    async def layout(self) -> Layout:
        """How the share is laid out."""
        return (await self._open())[1]

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Exactly these bytes."""

        async def read(parts: Parts, layout: Layout, entry: int) -> bytes:
            if offset + size > layout.manifest.entries[entry].size:
                raise NotFound(f"the input's file {path!r} has no {size} bytes from {offset} on")
            return await self._read(parts, layout, entry, offset, size)

        return await self._use(read, path, offset, size)

    async def lines(self, path: str, offset: int, size: int, most: int) -> bytes:
        """The lines that belong to this range (`jobs.cutting`), at most so many bytes. Raises JobError for more."""
        # The byte before the range says whether a line starts with it.
        before = max(0, offset - 1)
        expected = offset - before + min(size, most)

        async def read(parts: Parts, layout: Layout, entry: int) -> bytes:
            parts.want(_chunks(parts, layout, entry, before, expected))
            piece = await self._cut(parts, layout, entry, Piece(0, offset, size), most)
            if piece.size > most:
                raise _too_long(path, piece.size, most)
            return await self._read(parts, layout, entry, piece.offset, piece.size)

        return await self._use(read, path, before, expected)

    async def _cut(self, parts: Parts, layout: Layout, entry: int, piece: Piece, most: int) -> Piece:
        """The piece with its lines whole. Raises JobError where one of them is too long."""
        whole = layout.manifest.entries[entry].size
        cut = at_lines(piece, whole)
        try:
            at, wanted = next(cut)
            while True:
                if at - piece.offset > min(piece.size, most) + most:
                    raise _too_long("/".join(layout.manifest.entries[entry].path), at - piece.offset, most)
                # Not beyond a chunk's end: the next one may not be needed.
                each = chunk_bytes(whole)
                seen = await self._read(parts, layout, entry, at, min(wanted, each - at % each))
                at, wanted = cut.send(seen)
        except StopIteration as end:
            found: Piece = end.value
        return found

    async def _use(self, use: Use, path: str, offset: int, size: int) -> bytes:
        """Has these bytes used, with room made for them; again, if they were dropped meanwhile."""
        while True:
            parts, layout = await self._open()
            entry = self._entry(path)
            await self._inputs.make_room(parts.more(_chunks(parts, layout, entry, offset, size)))
            if parts is not self.parts:
                continue
            self._readers += 1
            try:
                return await use(parts, layout, entry)
            except ShoalError:
                if parts is self.parts:
                    raise
            finally:
                self._readers -= 1
                if not self._readers:
                    self._unread.set()
                    self._unread = trio.Event()

    async def empty(self, drop: Callable[[], Awaitable[None]]) -> None:
        """Has what was fetched of it dropped, once nobody reads it."""
        async with self._opening:
            parts = self.parts
            if parts is None:
                return
            self.parts = None
            try:
                with trio.move_on_after(READERS_S):
                    while self._readers:
                        await self._unread.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await parts.close()
                    await drop()
                    self._fetched_before, self._fetching = self.fetched, None

    async def _open(self) -> tuple[Parts, Layout]:
        while True:
            async with self._opening:
                if self.parts is None or not self.parts.usable:
                    opened = await self._inputs.open(self)
                    self._fetched_before, self._fetching, self.parts = self.fetched, opened, opened
                    self.ranges = opened if isinstance(opened, Ranges) else None
                parts = self.parts
            try:
                layout = await parts.layout()
                break
            except ShoalError:
                if parts is self.parts:  # else it was dropped meanwhile
                    raise
        if not self._entries:
            self._entries = await trio.to_thread.run_sync(_entries, layout)
        return parts, layout

    def _entry(self, path: str) -> int:
        entry = self._entries.get(path)
        if entry is None:
            raise NotFound(f"the input has no file {path!r}")
        return entry

    async def _read(self, parts: Parts, layout: Layout, entry: int, offset: int, size: int) -> bytes:
        if not size:
            return b""
        entry = parts.original(entry)
        await parts.have(layout.chunks_in(entry, offset, size))
        read = partial(_exactly, parts, entry, offset, size)
        try:
            return await trio.to_thread.run_sync(read, limiter=self._inputs.disk)
        except StorageError as error:
            if parts.usable:
                await parts.changed(entry, error)
            raise


def _entries(layout: Layout) -> dict[str, int]:
    entries = layout.manifest.entries
    return {"/".join(entry.path): number for number, entry in enumerate(entries) if layout.is_file(number)}


def _chunks(parts: Parts, layout: Layout, entry: int, offset: int, size: int) -> int:
    """Those with these bytes, as far as the file has them."""
    size = max(0, min(size, layout.manifest.entries[entry].size - offset))
    return layout.chunks_in(parts.original(entry), offset, size)


def _exactly(parts: Parts, entry: int, offset: int, size: int) -> bytes:
    """Reads bytes that are here. In a thread; raises StorageError where the file is not what it was."""
    pieces = []
    try:
        with parts.reading(entry) as (descriptor, stamp):
            while size:
                piece = os.pread(descriptor, min(size, READ_BYTES), offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                size -= len(piece)
            same = not size and (stamp is None or Stamp.of(os.fstat(descriptor)) == stamp)
    except OSError as error:
        raise StorageError(f"Cannot read an input: {error.strerror}.") from error
    if not same:
        raise StorageError("An input file is not what it was. It is fetched again.")
    return b"".join(pieces)


def _too_long(path: str, size: int, most: int) -> JobError:
    return JobError(
        f"A partition of {path!r} has {size} bytes in its lines; {most} are allowed. Its lines must be shorter, or "
        "--unit-memory larger: no unit is given more than 240 MiB."
    )


class Inputs:
    """The inputs that this peer has or is fetching for jobs, its own and those of others."""

    def __init__(self, local: Local, most_bytes: int, patience_s: float = PATIENCE_S) -> None:
        self.disk = local.disk
        self._local = local
        self._most = most_bytes
        self.patience_s = patience_s
        self._held: dict[ShareId, Held] = {}
        self._root = local.home / FOLDER / "inputs"
        self._cache = Cache(self._root)
        self._changing = trio.Lock()
        """Held while it is decided where a share is read from, and while shares are dropped."""
        self._making_room = trio.Lock()
        self._resting: dict[ShareId, int] = {}
        """Bytes of the disk that shares take of which nothing is fetched now."""
        self._begun, self._to_run = trio.open_memory_channel[Ranges](float("inf"))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetches what is read, until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            await self._trim()
            async for ranges in self._to_run:
                nursery.start_soon(ranges.run)

    def use(self, wanted: ShareId, hints: Sequence[PeerHint]) -> Held:
        """The share, for one job more; `release` it. Nothing is fetched before something of it is read."""
        held = self._held.get(wanted)
        if held is None:
            held = self._held[wanted] = Held(self, wanted)
        held.users += 1
        held.add(hints)
        return held

    async def release(self, *used: Held) -> None:
        """One job less for each; what is past the bound, and nobody's, is dropped, the longest unused first.

        Seen through, within bounds, even where it is cancelled: nobody else knows of them any more.
        """
        idle = []
        for held in used:
            held.users -= 1
            if not held.users:
                del self._held[held.share]
                idle.append(held)
                if held.parts is not None:
                    held.parts.stop()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + RELEASE_S):
            async with self._changing:
                for held in idle:
                    if held.parts is not None:
                        await held.parts.close()
                        with suppress(StorageError):
                            await trio.to_thread.run_sync(self._cache.touch, held.share)
            if idle:
                await self._trim()

    async def holds(self, wanted: ShareId) -> bool:
        """Whether all of the share is here."""
        held = self._held.get(wanted)
        if held is not None and held.parts is not None and held.parts.usable and held.parts.whole:
            return True
        return await self._from_library(wanted) is not None

    async def open(self, held: Held) -> Parts:
        """Where the share is read from, from now on. Raises StorageError."""
        async with self._changing:
            files = await self._from_library(held.share)
            await trio.to_thread.run_sync(self._cache.touch, held.share)
        if files is not None:
            return Whole(files)
        folder = self._cache.folder(held.share)
        ranges = Ranges(self._local, held.share, folder, [*held.hints], self.patience_s, self._most)
        self._resting.pop(held.share, None)
        self._begun.send_nowait(ranges)
        return ranges

    async def _from_library(self, wanted: ShareId) -> SharedFiles | None:
        def look() -> SharedFiles | None:
            row = self._local.library.share(wanted)
            if row is None or row.stale:
                return None
            files = SharedFiles(self._local.library, wanted)
            return files if files.held == files.layout.everything else None

        with suppress(NotFound):  # unshared meanwhile
            return await trio.to_thread.run_sync(look, limiter=self._local.disk)
        return None

    def being_read(self, wanted: ShareId) -> bool:
        """Whether jobs, and nobody else, are having the share fetched."""
        held = self._held.get(wanted)
        ranges = None if held is None else held.ranges
        return ranges is not None and self._local.fetching.get(wanted) is ranges.progress

    # Room.

    def has_room(self, more: int) -> bool:
        """Whether so many bytes more would still be within the bound."""
        fetched = sum(held.taken for held in self._held.values())
        return fetched + sum(self._resting.values()) + more <= self._most

    async def make_room(self, more: int) -> None:
        """Drops what is not needed now, as far as it must for so many bytes more, and as far as it can."""
        if not more or self.has_room(more):
            return
        async with self._making_room:
            if not self.has_room(more):
                await self._trim(more)
            while not self.has_room(more):
                in_use = [held for held in self._held.values() if held.taken and held.parts is not None]
                if not in_use:
                    return  # what units read at the moment is more than the bound
                fullest = max(in_use, key=lambda held: held.taken)
                await fullest.empty(partial(self._drop_read, fullest))

    async def _drop_read(self, held: Held) -> None:
        async with self._changing:
            if self._held.get(held.share) is held:
                await self._drop(held.share)

    async def _trim(self, more: int = 0) -> None:
        async with self._changing:
            try:
                kept = await trio.to_thread.run_sync(self._cache.all)
                fetched = {share for share, held in self._held.items() if isinstance(held.parts, Ranges)}
                self._resting = {cached.share: cached.size for cached in kept if cached.share not in fetched}
                for cached in kept:
                    if self.has_room(more):
                        break
                    if cached.share not in self._held:
                        await self._drop(cached.share)
                        self._resting.pop(cached.share, None)
            except StorageError as error:
                logger.warning("%s", error)

    async def _drop(self, wanted: ShareId) -> None:
        local, folder = self._local, self._cache.folder(wanted)
        row = await trio.to_thread.run_sync(local.library.share, wanted)
        if row is not None and row.fetched and any(Path(path).is_relative_to(folder) for path in row.paths):
            with suppress(NotFound):
                await share.unshare(local, wanted)
        await trio.to_thread.run_sync(local.records.drop, wanted, folder)
        await trio.to_thread.run_sync(self._cache.drop, wanted)
        logger.info("input %s is no longer kept", short(wanted))


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
