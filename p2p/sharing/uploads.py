"""Uploads: how an exchange serves chunks, in the order in which the peer asks for them, while it holds a slot.

Under an upload limit, frames are small and sent at once, and a chunk that takes very long is continued in a later turn.
"""

import errno
import logging
import os
from collections import deque
from collections.abc import Callable

import trio

from p2p.core.shares import bitmap
from p2p.core.shares.layout import Layout
from p2p.errors import ProtocolViolation
from p2p.ids import short
from p2p.net.connection import Connection
from p2p.sharing.swarm import Swarm
from p2p.sharing.traffic import Traffic
from p2p.sharing.upload_slots import Slot
from p2p.store import posix
from p2p.store.disk import Disk
from p2p.store.library import Stamp
from p2p.wire import messages
from p2p.wire.address import prefix
from p2p.wire.frames import MAX_DATA_BYTES

logger = logging.getLogger(__name__)

MAX_WANTS = 8192


class Uploads:
    """Sends one peer the chunks it wants. `tell_gone` tells that peer which chunks are no longer held here."""

    def __init__(
        self, connection: Connection, swarm: Swarm, traffic: Traffic, disk: Disk, tell_gone: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._swarm = swarm
        self._layout: Layout = swarm.holding.layout
        self._traffic = traffic
        self._disk = disk
        self._tell_gone = tell_gone
        self._wants: deque[tuple[int, int]] = deque()
        self._wanted = trio.Event()
        self._sending_chunk: int | None = None
        self._limited = traffic.upload.bytes_per_s > 0
        self._rest: tuple[int, int] | None = None
        """The chunk whose sending was interrupted for another peer's turn, and how many of its bytes were sent."""
        self.sent = 0
        """How many bytes of chunks were sent so far."""

    def __len__(self) -> int:
        """How many requests are open."""
        return len(self._wants)

    @property
    def awaited(self) -> bool:
        """Whether the peer waits for chunks."""
        return bool(self._wants) or self._sending_chunk is not None

    def want(self, first: int, count: int) -> None:
        """Notes that the peer wants these chunks. Raises ProtocolViolation for too many requests."""
        if len(self._wants) >= MAX_WANTS:
            raise ProtocolViolation("too many requests at once")
        self._wants.append((first, count))
        self._wanted.set()

    def cancel(self, first: int, count: int) -> None:
        """Notes that the peer no longer wants these chunks."""
        last = first + count
        kept: deque[tuple[int, int]] = deque()
        for at, many in self._wants:
            end = at + many
            if end <= first or at >= last:
                kept.append((at, many))
                continue
            if at < first:
                kept.append((at, first - at))
            if end > last:
                kept.append((last, end - last))
        self._wants = kept
        if self._sending_chunk is not None and first <= self._sending_chunk < last:
            self._sending_chunk = None
        if self._rest is not None and first <= self._rest[0] < last:
            self._rest = None

    async def run(self) -> None:
        """Serves until cancelled. Raises PeerError, StorageError."""
        frame = min(MAX_DATA_BYTES, self._traffic.upload.piece_bytes)
        buffer = memoryview(bytearray(min(frame, self._layout.largest_chunk)))
        ends = self._connection.ends
        while True:
            await self._wanted.wait()
            async with self._traffic.slots.hold(prefix(ends.remote_host), ends.peer_id, self._tell_choked) as slot:
                while self._wants:
                    first, count = self._wants.popleft()
                    absent = self._absent(first, count)
                    dealt_with = max(1, absent)
                    if count > dealt_with:
                        self._wants.appendleft((first + dealt_with, count - dealt_with))
                    if absent:
                        # They are skipped all at once: a peer may ask for millions of chunks that are not held.
                        self._tell_gone(bitmap.span(first, absent))
                        self._rest = None
                        await trio.lowlevel.checkpoint()
                    else:
                        await self._send_chunk(first, buffer, slot)
                        self._sending_chunk = None
                    if slot.must_yield():
                        break
                await self._connection.flush()
            if not self._wants:
                self._wanted = trio.Event()

    def _absent(self, first: int, count: int) -> int:
        """How many chunks at the start of this range are not held here."""
        held = self._swarm.holding.held
        return 0 if held >> first & 1 else bitmap.run_length(~held, first, count)

    async def _tell_choked(self, position: int) -> None:
        await self._connection.send(messages.Choked(position=position))

    async def _send_chunk(self, chunk: int, buffer: memoryview, slot: Slot) -> None:
        holding = self._swarm.holding
        place = self._layout.place(chunk)
        self._sending_chunk = chunk
        offset = 0
        if self._rest is not None:
            offset = self._rest[1] if self._rest[0] == chunk else 0
            self._rest = None
        try:
            with holding.reading(place.entry) as (descriptor, stamp):
                while offset < place.size:
                    view = buffer[: place.size - offset]
                    if not await self._read(descriptor, stamp, view, place.offset + offset):
                        await self._changed(place.entry)
                        return
                    await self._traffic.upload.spend(len(view))
                    if self._sending_chunk != chunk:
                        self._traffic.upload.give_back(len(view))
                        return
                    await self._connection.send_data(chunk, offset, view)
                    offset += len(view)
                    self.sent += len(view)
                    self._traffic.bytes_uploaded += len(view)
                    if self._limited:
                        await self._connection.flush()
                        if offset < place.size and slot.must_yield(within_chunk=True) and self._sending_chunk == chunk:
                            self._wants.appendleft((chunk, 1))
                            self._rest = chunk, offset
                            return
        except OSError as error:
            # If a fetch or a job has ended in the meantime, its folder gives EBADF.
            level = logging.DEBUG if error.errno == errno.EBADF else logging.WARNING
            logger.log(level, "cannot read a file of share %s: %s", short(self._swarm.share_id), error)
            await self._changed(place.entry)

    async def _read(self, descriptor: int, stamp: Stamp | None, view: memoryview, offset: int) -> bool:
        """Fills the view from the file. Returns False if the file has changed."""
        if stamp is not None and Stamp.of(os.fstat(descriptor)) != stamp:
            return False
        count = posix.read_without_waiting(descriptor, view, offset)
        if count is None or count < len(view):
            count = await self._disk.run(os.preadv, descriptor, [view], offset)
        return count == len(view) and (stamp is None or Stamp.of(os.fstat(descriptor)) == stamp)

    async def _changed(self, entry: int) -> None:
        """Stops serving a file that is not what was shared."""
        self._swarm.lost(await self._disk.run(self._swarm.holding.changed, entry))

    async def recheck(self, chunk: int) -> None:
        """Checks whether the file of a chunk of which the peer complained has changed. Raises StorageError."""
        await self._disk.run(self._recheck, chunk)

    def _recheck(self, chunk: int) -> None:
        holding = self._swarm.holding
        entry = self._layout.place(chunk).entry
        try:
            with holding.reading(entry) as (descriptor, stamp):
                same = stamp is None or Stamp.of(os.fstat(descriptor)) == stamp
        except OSError:
            same = False
        if not same:
            gone = holding.changed(entry)
            trio.from_thread.run_sync(self._swarm.lost, gone)
