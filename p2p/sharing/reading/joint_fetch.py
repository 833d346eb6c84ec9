"""Joint fetches: the user gets the whole of a share while jobs on this peer are reading it.

A share has only one fetch at a time, and the jobs' fetch, which gets only what is read, is already running. So the user
becomes one more reader, who reads every chunk that the target lacks. The jobs read on, and the disk space of what is
kept for them stays bounded. If the share enters the library meanwhile, the user's fetch reads it there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from p2p.concurrency.throttle import Throttle
from p2p.core.shares import bitmap
from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.core.shares.manifest import hash_chunk
from p2p.errors import ConfigError, NotFound, ShoalError, StorageError
from p2p.progress import Progress
from p2p.sharing.fetching.receiver import DURABLE_BYTES, RATE_INTERVAL_S
from p2p.sharing.fetching.supply import Filled
from p2p.sharing.reading.deps import Deps
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.swarms import ALREADY
from p2p.store.disk import Disk
from p2p.store.target import Target

MAX_READS = 8
AHEAD_BYTES = 16 * 1024 * 1024
RETRY_S = 1.0


class JointFetch:
    """The `Supply` of a joint fetch: `held` is the open share to read from, `release` gives it back."""

    def __init__(
        self,
        deps: Deps,
        held: OpenShare,
        release: Callable[[OpenShare], Awaitable[None]],
        folder: Path,
        progress: Progress,
        throttle: Throttle,
    ) -> None:
        self._deps = deps
        self._held = held
        self._release = release
        self._folder = folder
        self._progress = progress
        self._throttle = throttle

    @asynccontextmanager
    async def running(self) -> AsyncIterator[trio.Nursery]:
        held, records = self._held, self._deps.records
        try:
            if held.joined:
                raise ConfigError(ALREADY)
            held.joined = True
            try:
                await self._deps.disk.run(records.remember, held.share, self._folder)
                async with trio.open_nursery() as nursery:
                    yield nursery
                    nursery.cancel_scope.cancel()
            finally:
                held.joined = False
        finally:
            await self._release(held)

    async def layout(self) -> Layout:
        while True:
            try:
                return await self._held.layout()
            except NotFound:
                await trio.sleep(RETRY_S)

    @asynccontextmanager
    async def filling(self, target: Target) -> AsyncIterator[Filled]:
        started = trio.current_time()
        self._held.target = target
        try:
            await _Copying(self._deps.disk, self._held, target, self._progress, self._throttle).run()
        finally:
            self._held.target = None
        yield Filled(trio.current_time() - started, {}, None)


class _Copying:
    """As chunks that a target lacks arrive, copies them, makes them durable, and gives complete files their names."""

    def __init__(self, disk: Disk, held: OpenShare, target: Target, progress: Progress, throttle: Throttle) -> None:
        self._disk = disk
        self._held = held
        self._target = target
        self._progress = progress
        self._throttle = throttle
        self._missing = bitmap.members(target.wanted & ~target.record.have)
        self._dirty: set[int] = set()
        self._dirty_bytes = 0
        self._settling = trio.Lock()
        self._failure: ShoalError | None = None

    async def run(self) -> None:
        """Copies all of them. Raises StorageError; ShoalError for anything else that prevents the fetch."""
        async with trio.open_nursery() as looking:
            looking.start_soon(self._look)
            async with trio.open_nursery() as nursery:
                for _ in range(MAX_READS):
                    nursery.start_soon(self._work, nursery.cancel_scope)
            looking.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        self._progress.state = "putting files into place"
        await self._disk.run(self._finish)

    async def _look(self) -> None:
        """Updates the figures of the progress display."""
        progress = self._progress
        while True:
            partial, before = self._held.partial, progress.received
            progress.sources = 0 if partial is None else partial.progress.sources
            if self._held.is_here:
                progress.state = "copying from this peer's own share"
            else:
                progress.state = "fetching, together with a job" if progress.sources else "waiting for sources"
            await trio.sleep(RATE_INTERVAL_S)
            progress.measured(progress.received - before, RATE_INTERVAL_S)

    async def _work(self, scope: trio.CancelScope) -> None:
        try:
            for chunk in self._missing:
                await self._copy(chunk)
        except ShoalError as error:
            self._failure = self._failure or error
            scope.cancel()

    async def _copy(self, chunk: int) -> None:
        progress, layout = self._progress, self._target.layout
        place = layout.place(chunk)
        path = "/".join(layout.manifest.entries[place.entry].path)
        await self._held.expect(path, place.offset, AHEAD_BYTES)
        data = await self._read(path, place)
        await self._disk.run(self._write, chunk, place, data)
        progress.received += place.size
        progress.done += place.size
        self._dirty.add(place.entry)
        self._dirty_bytes += place.size
        if self._dirty_bytes >= DURABLE_BYTES:
            await self._settle()
        await self._throttle.spend(place.size)

    async def _read(self, path: str, place: ChunkPlace) -> bytes:
        while True:
            try:
                return await self._held.read(path, place.offset, place.size)
            except NotFound:  # no peer had it for a while: how long to wait is up to the user
                await trio.sleep(RETRY_S)

    def _write(self, chunk: int, place: ChunkPlace, data: bytes) -> None:
        if hash_chunk(data) != self._target.layout.hash(chunk):
            raise StorageError("A file of the job was changed while it was read. Run the same command again.")
        self._target.write(chunk, place, memoryview(data))

    async def _settle(self) -> None:
        async with self._settling:
            dirty, self._dirty, self._dirty_bytes = [*self._dirty], set(), 0
            whole = self._target.whole(dirty)
            await self._disk.run(self._target.settle, dirty, whole)
        self._progress.files_done = len(self._target.placed)

    def _finish(self) -> None:
        target = self._target
        target.settle([*self._dirty], target.whole(target.selected))
        target.fill_copies(target.uncopied())
        self._progress.files_done = len(target.placed)
