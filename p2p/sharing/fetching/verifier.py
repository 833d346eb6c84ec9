"""Verifying and writing chunks: small ones at once, large ones in a separate thread beside the trio thread.

BLAKE3 and the write release the interpreter's lock, so the trio thread decrypts the next chunk while this thread
hashes and writes the previous one: in a prototype on two idle cores, this was about a fifth faster than doing one after
the other. It is a single thread with a plain queue, since handing each chunk to `to_thread` made an earlier prototype
slower. A slow disk delays this thread and, once the buffers are used up, the sources, but never the event loop.
"""

import mmap
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from p2p.core.shares.layout import ChunkPlace, Layout
from p2p.core.shares.manifest import hash_chunk
from p2p.errors import PeerGone, StorageError
from p2p.store.target import Target

Key = TypeVar("Key")


@dataclass(slots=True)
class Arrived(Generic[Key]):
    """Chunks that have arrived whole, `first` and those that follow it, and the outcome of verifying and writing them.

    Each has its place and its bytes. A large one comes alone, at the start of `buffer`.
    """

    source: Key
    first: int
    chunks: list[tuple[ChunkPlace, memoryview]]
    buffer: memoryview
    good: int = 0
    """How many, before the first that is wrong, were right and are written."""
    failure: StorageError | None = None

    def verify_and_write(self, target: Target) -> None:
        """Sets `good`, and sets `failure` if a good chunk could not be written."""
        try:
            self.good = target.write_run(self.first, self._right_ones(target.layout))
        except StorageError as error:
            self.failure = error

    def _right_ones(self, layout: Layout) -> Iterator[tuple[ChunkPlace, memoryview]]:
        for place, view in self.chunks:
            if hash_chunk(view) != layout.hash_at(place):
                return
            yield place, view


class Buffers:
    """A pool of `count` buffers of `size` bytes. The buffer given back last is taken first, since it is still in the
    processor's cache, and a buffer that is never written to takes no memory."""

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._free = [self._new() for _ in range(count)]
        self._given = trio.Event()
        self._closed = False

    def take_nowait(self) -> memoryview | None:
        """Returns a buffer if one is free, otherwise None."""
        return self._free.pop() if self._free and not self._closed else None

    async def take(self) -> memoryview:
        """Waits until a buffer is free, and returns it. Raises PeerGone once closed."""
        while not self._free and not self._closed:
            await self._given.wait()
        if self._closed:
            raise PeerGone("the fetch has ended")
        return self._free.pop()

    def close(self) -> None:
        """Stops giving out buffers: tasks that wait for one get PeerGone."""
        self._closed = True
        self._given.set()

    def give(self, buffer: memoryview) -> None:
        """Takes back a buffer that is no longer used."""
        self._free.append(buffer)
        self._given.set()
        if not self._closed:
            self._given = trio.Event()

    def replace(self) -> None:
        """Adds a new buffer in place of one that cannot be given back, since it may still be written to."""
        self.give(self._new())

    def _new(self) -> memoryview:
        # A bytearray would be zeroed at once, and so take its memory at once.
        return memoryview(mmap.mmap(-1, self._size))


class Verifier(Generic[Key]):
    """A thread that verifies chunks, and a task that calls `settled` in the trio thread for each result."""

    def __init__(self, target: Target, settled: Callable[[Arrived[Key]], None]) -> None:
        self._target = target
        self._settled = settled
        self._queue: queue.SimpleQueue[Arrived[Key] | None] = queue.SimpleQueue()

    def hand_in(self, arrived: Arrived[Key]) -> None:
        """Queues the chunk to be verified and written."""
        self._queue.put(arrived)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Verifies while the body runs; then finishes the chunks that were handed in, without calling `settled`."""
        send, receive = trio.open_memory_channel[Arrived[Key]](float("inf"))
        token = trio.lowlevel.current_trio_token()

        def work() -> None:
            while (arrived := self._queue.get()) is not None:
                arrived.verify_and_write(self._target)
                token.run_sync_soon(send.send_nowait, arrived)

        async def listen() -> None:
            async for arrived in receive:
                self._settled(arrived)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, work)
            nursery.start_soon(listen)
            try:
                yield
            finally:
                self._queue.put(None)
                nursery.cancel_scope.cancel()
