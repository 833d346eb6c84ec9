"""An input share of jobs, which the units of all jobs on this peer read by path, and by ranges of bytes or of lines.

When any part of the share is needed, its copy in the library is opened, or the user's fetch of it, or else a fetch of
its own. To make room for other shares, the copy or the fetch may be dropped even while it has readers: then their reads
start again, as they do when the user's fetch ends.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2p import causes
from p2p.core.shares import folders
from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import chunk_bytes
from p2p.discovery.finders import MAX_LINK_TRACKERS
from p2p.errors import JobError, NotFound, ShoalError, StorageError
from p2p.ids import ShareId
from p2p.sharing.fetching.reuse import Files
from p2p.sharing.reading.alongside import Alongside
from p2p.sharing.reading.local_copy import LocalCopy
from p2p.sharing.reading.partial import PartialFetch
from p2p.store.disk import Disk
from p2p.store.library import SharedFiles
from p2p.store.target import Target
from p2p.wire.link import PeerHint

if TYPE_CHECKING:
    from p2p.jobs.cutting import Piece

MAX_HINTS = 256
READ_BYTES = 1 << 24
READERS_TIMEOUT_S = 30.0
"""How long to wait until a share has no readers before it is dropped all the same to make room."""

Parts = LocalCopy | Alongside | PartialFetch
Use = Callable[[Parts, Layout, int], Awaitable[bytes]]
"""Reads something from an entry, given by its number."""


class OpenShare:
    """The share `wanted`, opened by `OpenShares.open` for all its readers. `open_parts` opens its copy or its fetch.

    Before more bytes are fetched, `has_room` is called, or `make_room` awaited: see `CacheBudget`.

    Its methods raise NotFound if a path is not in the share, or if for some time no peer had the bytes; StorageError;
    and ShoalError if anything else keeps the share from being fetched. The next read tries again.
    """

    def __init__(
        self,
        wanted: ShareId,
        disk: Disk,
        open_parts: Callable[["OpenShare"], Awaitable[Parts]],
        has_room: Callable[[int], bool],
        make_room: Callable[[int], Awaitable[None]],
    ) -> None:
        self.share = wanted
        self.users = 0
        self.hints: dict[PeerHint, None] = {}
        self.trackers: dict[str, None] = {}
        self.joined = False
        """Whether this peer's user is one of its readers: see `joint_fetch`."""
        self.in_library: SharedFiles | None = None
        """The part of it that this peer shares."""
        self.target: Target | None = None
        """Where this peer's user fetches it to."""
        self.parts: Parts | None = None
        self.partial: PartialFetch | None = None
        """The fetch from which the share is read, or was read last."""
        self._disk = disk
        self._open_parts = open_parts
        self._has_room = has_room
        self._make_room = make_room
        self._opening = trio.Lock()
        self._readers = 0
        self._unread = trio.Event()
        self._fetching: Parts | None = None
        self._fetched_before = 0

    @property
    def is_here(self) -> bool:
        """Whether it is read from a copy in the library, so that no reader waits for others."""
        return isinstance(self.parts, LocalCopy) and self.parts.usable

    @property
    def fetched(self) -> int:
        """How many of its bytes came over the network, for any job."""
        return self._fetched_before + (0 if self._fetching is None else self._fetching.fetched)

    @property
    def starved_s(self) -> float:
        """For how long a reader has waited and got nothing, in seconds; 0 if none waits."""
        return 0.0 if self._fetching is None else self._fetching.starved_s

    @property
    def trouble(self) -> str:
        """What keeps sources away, in words; empty if nothing is known."""
        return "" if self._fetching is None else self._fetching.trouble

    @property
    def taken(self) -> int:
        """How many bytes of disk it takes, including bytes still to come, until all of it is dropped."""
        return 0 if self._fetching is None else self._fetching.taken

    def nearby(self) -> list[Files]:
        """Other files of this machine that have chunks of it."""
        return [files for files in (self.in_library, self.target) if files is not None]

    def add(self, hints: Sequence[PeerHint], trackers: Sequence[str] = ()) -> None:
        """Adds addresses where the share may be found, and URLs of trackers that may know more."""
        for hint in hints:
            if hint not in self.hints and len(self.hints) < MAX_HINTS:
                self.hints[hint] = None
                if self.parts is not None:
                    self.parts.add(hint)
        for url in trackers:
            if url not in self.trackers and len(self.trackers) < MAX_LINK_TRACKERS:
                self.trackers[url] = None
                if self.parts is not None:
                    self.parts.ask(url)

    def read_now(self, path: str, offset: int, size: int, room: bytearray | None = None) -> bytearray | None:
        """Reads exactly these bytes if they are in memory, into the room if it has their size. Returns None if they are
        not in memory, or cannot be read at all.
        """
        parts = self.parts
        return parts.read_now(path, offset, size, room) if isinstance(parts, LocalCopy) and parts.usable else None

    async def expect(self, path: str, offset: int, size: int) -> None:
        """Starts to fetch bytes that will be read, up to the file's end, and does not wait for them.

        Nothing is dropped to make room for them: bytes for which there is no room now are fetched when they are read.
        """
        parts, layout = await self._open()
        chunks = _chunks(parts, layout, _entry(layout, path), offset, size)
        more = parts.more(chunks)
        if parts is self.parts and parts.usable and (not more or self._has_room(more)):
            parts.want(chunks)

    async def layout(self) -> Layout:
        """The layout of the share."""
        return (await self._open())[1]

    async def size(self, path: str) -> int:
        """The size of a file, in bytes."""
        _, layout = await self._open()
        return layout.manifest.entries[_entry(layout, path)].size

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Reads exactly these bytes."""

        async def read(parts: Parts, layout: Layout, entry: int) -> bytes:
            if offset + size > layout.manifest.entries[entry].size:
                raise NotFound(f"the input's file {path!r} has no {size} bytes from {offset} on")
            return await self._read(parts, layout, entry, offset, size)

        return await self._use(read, path, offset, size)

    async def ready(self, path: str, offset: int, size: int) -> None:
        """Waits until these bytes are here, so that to read them takes no longer than a disk does."""

        async def wait(parts: Parts, layout: Layout, entry: int) -> bytes:
            await parts.have(_chunks(parts, layout, entry, offset, size))
            return b""

        await self._use(wait, path, offset, size)

    async def lines(self, path: str, offset: int, size: int, most: int) -> bytes:
        """Reads the lines that belong to this range (`jobs.cutting`). Raises JobError if they exceed `most` bytes."""
        # The byte before the range shows whether a line starts where the range does.
        before = max(0, offset - 1)
        expected = offset - before + min(size, most)

        async def read(parts: Parts, layout: Layout, entry: int) -> bytes:
            parts.want(_chunks(parts, layout, entry, before, expected))
            piece = await self._cut(parts, layout, entry, offset, size, most)
            if piece.size > most:
                raise _too_long(path, piece.size, most)
            return await self._read(parts, layout, entry, piece.offset, piece.size)

        return await self._use(read, path, before, expected)

    async def _cut(self, parts: Parts, layout: Layout, entry: int, offset: int, size: int, most: int) -> "Piece":
        """Cuts or extends the range to whole lines. Raises JobError if one of them is too long."""
        from p2p.jobs.cutting import Piece, at_lines  # late: most peers read nothing for jobs

        piece = Piece(0, offset, size)
        whole = layout.manifest.entries[entry].size
        cut = at_lines(piece, whole)
        try:
            at, wanted = next(cut)
            while True:
                if at - piece.offset > min(piece.size, most) + most:
                    raise _too_long("/".join(layout.manifest.entries[entry].path), at - piece.offset, most)
                # Do not read beyond the chunk's end: the next chunk may not be needed.
                each = chunk_bytes(whole)
                seen = await self._read(parts, layout, entry, at, min(wanted, each - at % each))
                at, wanted = cut.send(seen)
        except StopIteration as end:
            found: Piece = end.value
        return found

    async def _use(self, use: Use, path: str, offset: int, size: int) -> bytes:
        """Makes room for these bytes and uses them. Repeats this if they were dropped in the meantime."""
        while True:
            parts, layout = await self._open()
            entry = _entry(layout, path)
            await self._make_room(parts.more(_chunks(parts, layout, entry, offset, size)))
            if parts is not self.parts:
                continue
            self._readers += 1
            try:
                return await use(parts, layout, entry)
            except ShoalError:
                if parts is self.parts and not parts.handed_over:
                    raise
            finally:
                self._readers -= 1
                if not self._readers:
                    self._unread.set()
                    self._unread = trio.Event()

    async def empty(self, drop: Callable[[], Awaitable[None]]) -> None:
        """Drops what was fetched of the share, once it has no readers, or after `READERS_TIMEOUT_S`."""
        async with self._opening:
            parts = self.parts
            if parts is None:
                return
            self.parts = None
            try:
                with trio.move_on_after(READERS_TIMEOUT_S):
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
                    opened = await self._open_parts(self)
                    self._fetched_before, self._fetching, self.parts = self.fetched, opened, opened
                    self.partial = opened if isinstance(opened, PartialFetch) else None
                parts = self.parts
            try:
                layout = await parts.layout()
                break
            except ShoalError:
                if parts is self.parts and not parts.handed_over:  # otherwise it was dropped in the meantime
                    raise
        return parts, layout

    async def _read(self, parts: Parts, layout: Layout, entry: int, offset: int, size: int) -> bytes:
        if not size:
            return b""
        entry = parts.original(entry)
        await parts.have(layout.chunks_in(entry, offset, size))
        read = partial(_exactly, parts, entry, offset, size)
        try:
            return await self._disk.run(read)
        except StorageError as error:
            if not parts.usable or await parts.changed(entry, error):
                raise
        return await self._disk.run(read)  # it was only touched


def _entry(layout: Layout, path: str) -> int:
    entry = folders.number_of(layout.manifest.entries, tuple(path.split("/")))
    if entry is None:
        raise NotFound(f"the input has no file {path!r}")
    return entry


def _chunks(parts: Parts, layout: Layout, entry: int, offset: int, size: int) -> int:
    """The chunks that have these bytes, up to the file's end."""
    size = max(0, min(size, layout.manifest.entries[entry].size - offset))
    return layout.chunks_in(parts.original(entry), offset, size)


def _exactly(parts: Parts, entry: int, offset: int, size: int) -> bytes:
    """Reads bytes that are on this disk. Blocking. Raises StorageError if the file has changed."""
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
            same = not size and (stamp is None or stamp.fits(os.fstat(descriptor)))
    except OSError as error:
        raise StorageError(f"Cannot read an input: {causes.explained(error)}") from error
    if not same:
        raise StorageError("An input file has changed. It will be fetched again.")
    return b"".join(pieces)


def _too_long(path: str, size: int, most: int) -> JobError:
    return JobError(
        f"A partition of {path!r} has {size} bytes in its lines; {most} are allowed. Its lines must be shorter, or "
        "--unit-memory larger: no unit is given more than 240 MiB."
    )
