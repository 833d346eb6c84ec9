"""A share whose parts are fetched as they are needed.

A partial fetch wants no chunk at first. It gets the chunks that readers ask for, from other files of this machine or
from the swarm, and at the same time serves what it has. What was fetched stays in its folder, where the next fetch
resumes. Once nothing is missing, the share is added to the library.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path

import trio

from p2p.concurrency.walls import Wall
from p2p.core.shares import bitmap
from p2p.core.shares.layout import Layout
from p2p.errors import NotFound, ShoalError, StorageError
from p2p.formats import format_time
from p2p.ids import ShareId, short
from p2p.progress import Progress
from p2p.sharing.fetching.receiver import Receiver
from p2p.sharing.fetching.reuse import Files, copied
from p2p.sharing.reading.deps import Deps
from p2p.sharing.reading.waits import Waits
from p2p.store.stamps import Stamp
from p2p.store.target import Target
from p2p.wire.link import Link, PeerHint

logger = logging.getLogger(__name__)

READING = Wall("read of a share")

TICK_INTERVAL_S = 0.1
CHUNK_TIMEOUT_S = 600.0
"""How long a reader waits for its next chunk."""


class PartialFetch:
    """A fetch of parts of a share. `run` lasts until `stop`, or until an error. The methods for readers wait until the
    fetch is open, and raise the error that ended it.

    The folder is this peer's own: files there that differ from the share's are overwritten. A share of more than
    `most` bytes is not added to the library: with the copies of equal files, it would take more disk space than what
    was fetched.
    """

    def __init__(
        self,
        deps: Deps,
        wanted: ShareId,
        folder: Path,
        hints: Sequence[PeerHint],
        trackers: Sequence[str] = (),
        patience_s: float = CHUNK_TIMEOUT_S,
        most: int = 2**63,
        nearby: Callable[[], Sequence[Files]] = tuple,
    ) -> None:
        """`nearby` returns other files of this machine that have chunks, which are then copied, and not fetched."""
        self._deps = deps
        self._share = wanted
        self._folder = folder
        self._hints = list(hints)
        self._late: list[str] = []
        """Trackers that were named after it was made."""
        self._patience_s = patience_s
        self._most = most
        self._nearby = nearby
        self.progress = Progress()
        self._sources = deps.fetching.sources(Link(wanted, trackers=tuple(trackers)), self.progress)
        self._counted = 0
        self._waits = Waits()
        self.handed_over = False
        self.taken = 0
        """How many bytes of disk it takes, including bytes still to come."""
        self._target: Target | None = None
        self._receiver: Receiver | None = None
        self._opened = trio.Event()
        self._closing = trio.Event()
        self._opening = trio.CancelScope()
        self._running = False
        self._failure: ShoalError | None = None
        self._ended = trio.Event()

    # For readers.

    @property
    def usable(self) -> bool:
        """Whether chunks can be read from this fetch, now or soon."""
        failed = self._receiver is not None and self._receiver.failure is not None
        return not failed and not self._ended.is_set()

    @property
    def whole(self) -> bool:
        """Whether every chunk is here; of equal files, the chunks of one are enough."""
        held = 0 if self._receiver is None else self._receiver.held
        return self._target is not None and not self._target.wanted & ~held

    @property
    def fetched(self) -> int:
        """How many bytes came over the network."""
        return self.progress.received

    @property
    def starved_s(self) -> float:
        """For how long a reader has waited and got nothing, in seconds; 0 if none waits."""
        return self._waits.longest_s

    @property
    def trouble(self) -> str:
        """What kept sources away, or else what the user should know of whom was not asked."""
        progress = self.progress
        return progress.trouble or (progress.notes[0].rstrip(".") if progress.notes else "")

    def more(self, chunks: int) -> int:
        """How many more bytes of disk it takes once it has these chunks too."""
        assert self._receiver is not None
        return self._receiver.layout.bytes_in(chunks & ~self._counted)

    def add(self, hint: PeerHint) -> None:
        """Adds an address where the share may be found."""
        self._hints.append(hint)
        self._sources.add(hint)

    def ask(self, tracker: str) -> None:
        """Adds a tracker that may know who has the share."""
        self._late.append(tracker)
        self._sources.ask([tracker])

    async def layout(self) -> Layout:
        """The layout of the share, once its manifest is here. Raises ShoalError; NotFound if that takes too long."""
        with trio.move_on_after(self._patience_s), self._waits.one():
            await self._opened.wait()
        if self._failure is not None:
            raise self._failure
        if self._receiver is None:
            raise self._nobody()
        return self._receiver.layout

    def original(self, entry: int) -> int:
        """The entry to read instead of this one, since only one of equal files is fetched."""
        assert self._target is not None
        return self._target.original(entry)

    def want(self, chunks: int) -> None:
        """Starts to fetch these chunks, which will be needed. Raises StorageError if the disk has no room."""
        for files in self._nearby():
            chunks &= ~files.held  # they are copied once they are needed
        self._want(chunks)

    def _want(self, chunks: int) -> None:
        assert self._receiver is not None
        self._receiver.want(chunks)
        self.taken += self.more(chunks)
        self._counted |= chunks

    async def have(self, chunks: int) -> None:
        """Waits until these chunks are here. Raises ShoalError; NotFound if none comes for a while."""
        assert self._receiver is not None
        await self._copy(chunks & ~self._receiver.held)
        self._want(chunks)
        coming = True
        while coming:
            with trio.move_on_after(self._patience_s) as patience, self._waits.one():
                coming = await self._receiver.arrived(chunks)
            if patience.cancelled_caught:
                raise self._nobody()

    async def _copy(self, chunks: int) -> None:
        """Takes those of these chunks that are nearby. Raises StorageError."""
        assert self._receiver is not None
        assert self._target is not None
        for files in self._nearby():
            for chunk in bitmap.members(chunks & files.held):
                if await self._deps.disk.run(copied, self._target, chunk, files):
                    self._receiver.copied(chunk)

    def reading(self, entry: int) -> AbstractContextManager[tuple[int, Stamp | None]]:
        """Gives a descriptor of the entry's file. Only chunks that are here may be read from it. Raises OSError."""
        assert self._target is not None
        return self._target.reading(entry)

    async def changed(self, entry: int, error: StorageError) -> bool:
        """Looks at a file that seems to have changed. If it has, ends the fetch with the error.

        Returns whether it has changed.
        """
        assert self._target is not None
        assert self._receiver is not None
        seen, check = self._target.placed.get(entry), trio.from_thread.check_cancelled
        if await self._deps.disk.run_long(self._target.still_same, entry, seen, check):
            return False
        self._receiver.fail(error)
        gone = bitmap.span(*self._receiver.layout.range_of(entry))
        with suppress(StorageError):  # closed in the meantime
            await self._deps.disk.run(partial(self._target.record.correct, gone=gone))
        return True

    def hand_over(self) -> None:
        """Ends the fetch, so that reads begin again with what the share is read from now."""
        self.handed_over = True
        self.stop()

    def stop(self) -> None:
        """Ends the fetch soon; what came is made durable first."""
        self._closing.set()
        if self._receiver is None:
            self._opening.cancel()
        if not self._running:
            self._ended.set()

    async def close(self) -> None:
        """Ends the fetch, and waits until it has ended."""
        self.stop()
        await self._ended.wait()

    # Running.

    async def run(self) -> None:
        """Fetches and serves until closed, or until the disk fails: then readers get the error."""
        if self._ended.is_set():
            return
        self._running = True
        try:
            with READING.around(), self._opening:
                await self._run()
        except ShoalError as error:
            logger.info("input %s: %s", short(self._share), error)
            self._failure = error
        finally:
            if self._failure is None:
                self._failure = NotFound("The input is no longer fetched.")
            if self._receiver is not None:
                self._receiver.fail(self._failure)
            self._ended.set()
            self._opened.set()

    async def _run(self) -> None:
        swarms = self._deps.swarms
        await swarms.until_free(self._share)  # by the user, or by an earlier reader
        with swarms.fetching(self._share, self.progress):
            await self._sources.start(self._folder)
            async with self._sources.running(self._hints) as nursery:
                self._sources.ask(self._late)
                await self._steps(nursery)

    async def _steps(self, nursery: trio.Nursery) -> None:
        manifests = self._sources.manifests
        await manifests.ready.wait()
        layout = await manifests.layout()
        check = trio.from_thread.check_cancelled

        def open_target() -> Target:
            record = self._deps.records.begin(self._share, self._folder, layout.chunks)
            with ExitStack() as undo:
                undo.callback(record.close)
                target = Target(layout, self._folder, range(len(layout.manifest.entries)), record, overwrite=True)
                undo.callback(target.close)
                target.survey(check)
                undo.pop_all()
            return target

        target = await self._deps.disk.run(open_target)
        try:
            self.progress.name = layout.manifest.root.name
            self.progress.files = layout.manifest.root.files
            await self._serve(target, nursery)
        finally:
            target.close()

    async def _serve(self, target: Target, nursery: trio.Nursery) -> None:
        deps = self._deps
        receiver = deps.fetching.receiver(target, self.progress, self._sources)
        with self._sources.exchanging(nursery, target, receiver):
            async with receiver.verifying():
                self._target, self._receiver = target, receiver
                self._counted = receiver.held
                self.taken = receiver.layout.bytes_in(receiver.held)
                self._opened.set()
                while not self._closing.is_set() and receiver.failure is None:
                    receiver.tick()
                    with trio.move_on_after(TICK_INTERVAL_S):
                        await self._closing.wait()
            joins = self.whole and await self._may_join(target)
            if receiver.failure is None:
                receiver.finish(copies=joins)
                await receiver.ended()
            if receiver.failure is not None:
                raise receiver.failure
            if joins:
                await deps.disk.run(target.make_empty)
                await deps.sharing.keep_serving(target, receiver.swarm)
                await deps.disk.run(target.record.forget)

    async def _may_join(self, target: Target) -> bool:
        """Whether the share is small enough for the library, and this peer's user has it nowhere else."""
        row = await self._deps.disk.run(self._deps.library.share, self._share)
        return target.selected_bytes <= self._most and (row is None or bool(row.stale))

    def _nobody(self) -> NotFound:
        trouble = f" ({self.progress.trouble})" if self.progress.trouble else ""
        return NotFound(f"Nobody had the input for {format_time(self._patience_s)}{trouble}.")
