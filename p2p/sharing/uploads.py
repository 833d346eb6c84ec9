"""Uploads: how an exchange serves chunks, in the order in which the peer wants them, while it holds a slot.

Under an upload limit, frames are small and sent at once. A chunk whose sending takes very long is continued in a later
turn, and so is the chunk of a peer that has lost its slot: once it has read the frame that was on its way.
"""

import errno
import logging
import os
from collections.abc import Callable
from functools import partial

import trio

from p2p import causes
from p2p.core.shares import bitmap
from p2p.core.shares.layout import Layout
from p2p.errors import ProtocolViolation, StorageError
from p2p.ids import short
from p2p.net.connection import Connection
from p2p.sharing.swarm import Swarm
from p2p.sharing.traffic import Traffic
from p2p.sharing.upload_slots import Slot
from p2p.sharing.wants import TooManyWants, Wants
from p2p.store import content, posix
from p2p.store.disk import Disk
from p2p.store.stamps import Stamp
from p2p.wire import messages

logger = logging.getLogger(__name__)

PAUSE_S = 0.05
"""For how long a peer keeps its slot between its requests: it asks for more once it has most of what it asked for."""

_LACKING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""This machine lacks something, which says nothing about the file."""


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
        self._wants = Wants()
        self._wanted = trio.Event()
        self._sending_chunk: int | None = None
        self._rest: tuple[int, int] | None = None
        """The chunk whose sending was interrupted, and how many of its bytes were sent."""
        self._doubt: tuple[int, int, Stamp | None] | None = None
        """A chunk whose file does not have its stamp, the file's entry, and that stamp."""
        self._doubted = -1
        self._chunks_sent = bytearray()
        self.sent = 0
        """How many bytes of chunks were sent so far."""

    def __len__(self) -> int:
        """How many requests are open."""
        return len(self._wants)

    @property
    def awaited(self) -> bool:
        """Whether the peer waits for chunks."""
        return len(self._wants) > 0 or self._sending_chunk is not None

    def want(self, first: int, count: int) -> None:
        """Notes that the peer wants these chunks. Raises ProtocolViolation for too many requests."""
        try:
            self._wants.add(first, count)
        except TooManyWants:
            raise ProtocolViolation("too many requests at once") from None
        self._wanted.set()

    def hurry(self, first: int, count: int) -> None:
        """Notes that of all that the peer wants, it wants these chunks first. Raises ProtocolViolation as `cancel`."""
        try:
            self._wants.hurry(first, count)
            if self._rest is not None:
                self._wants.hurry(self._rest[0], 1)  # the peer has its beginning: it is ended before another begins
        except TooManyWants:
            raise ProtocolViolation("too many requests at once") from None

    def cancel(self, first: int, count: int) -> None:
        """Notes that the peer no longer wants these chunks. Raises ProtocolViolation if too many ranges are left."""
        try:
            self._wants.cancel(first, count)
        except TooManyWants:
            raise ProtocolViolation("too many requests at once") from None
        last = first + count
        if self._sending_chunk is not None and first <= self._sending_chunk < last:
            self._sending_chunk = None
        if self._rest is not None and first <= self._rest[0] < last:
            self._rest = None

    async def run(self) -> None:
        """Serves until cancelled. Raises PeerError, StorageError."""
        ends, end = self._connection.ends, self._connection.close
        while True:
            await self._wanted.wait()
            if self._doubt is not None:
                await self._resolve(*self._doubt)
            async with self._traffic.slots.hold(ends.remote_host, ends.peer_id, self._tell_choked, end) as slot:
                while await self._wants_more(slot):
                    first, count = self._wants.front()
                    absent = self._absent(first, count)
                    self._wants.drop(max(1, absent))
                    if absent:
                        # They are skipped all at once: a peer may ask for millions of chunks that are not held.
                        self._tell_gone(bitmap.span(first, absent))
                        self._rest = None
                        await trio.lowlevel.checkpoint()
                    else:
                        await self._send_chunk(first, slot)
                        self._sending_chunk = None
                    if slot.must_yield() or self._doubt is not None:
                        break
                await self._connection.flush()
            if not self._wants:
                self._wanted = trio.Event()

    async def _wants_more(self, slot: Slot) -> bool:
        """Whether the peer wants chunks, or does so within `PAUSE_S`."""
        if self._wants:
            return True
        if self._doubt is not None or slot.must_yield():
            return False
        await self._connection.flush()
        self._wanted = trio.Event()
        with trio.move_on_after(PAUSE_S):
            await self._wanted.wait()
        return len(self._wants) > 0 and not slot.must_yield()

    def _absent(self, first: int, count: int) -> int:
        """How many chunks at the start of this range are not held here."""
        held = self._swarm.holding.held
        return 0 if held >> first & 1 else bitmap.run_length(~held, first, count)

    async def _tell_choked(self, position: int) -> None:
        await self._connection.send(messages.Choked(position=position))
        if position:
            self._connection.use.told_to_wait()

    async def _send_chunk(self, chunk: int, slot: Slot) -> None:
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
                    view = slot.buffer[: place.size - offset]
                    if not await self._read(descriptor, stamp, view, place.offset + offset):
                        self._interrupt(chunk, offset)
                        self._doubt = chunk, place.entry, stamp
                        return
                    await self._traffic.upload.spend(len(view))
                    if self._sending_chunk != chunk:
                        self._traffic.upload.give_back(len(view))
                        return
                    await self._connection.send_data(chunk, offset, view)
                    offset += len(view)
                    self.sent += len(view)
                    self._connection.use.gave(self._swarm.share_id, len(view), self._layout.bytes)
                    self._traffic.bytes_uploaded += len(view)
                    slot.took(len(view))
                    if self._traffic.upload.bytes_per_s:
                        await self._connection.flush()
                    if offset < place.size and slot.must_yield(within_chunk=True) and self._sending_chunk == chunk:
                        self._interrupt(chunk, offset)
                        return
        except OSError as error:
            if error.errno in _LACKING:
                raise StorageError(f"no file can be opened now: {causes.what(error)}") from error
            # If a fetch or a job has ended in the meantime, its folder gives EBADF.
            level = logging.DEBUG if error.errno == errno.EBADF else logging.WARNING
            logger.log(level, "cannot read a file of share %s: %s", short(self._swarm.share_id), error)
            self._swarm.lost(await self._disk.run(holding.spoiled, place.entry, "cannot be read; share it again"))
        else:
            self._doubted = -1
            self._swarm.useful_at = trio.current_time()
            if not self._chunks_sent:
                self._chunks_sent = bytearray((self._layout.chunks + 7) // 8)
            self._chunks_sent[chunk >> 3] |= 1 << (chunk & 7)

    def _interrupt(self, chunk: int, offset: int) -> None:
        """Leaves the rest of a chunk to be sent first, once this peer is served again."""
        self._wants.put_back(chunk)
        self._rest = chunk, offset

    async def _read(self, descriptor: int, stamp: Stamp | None, view: memoryview, offset: int) -> bool:
        """Fills the view from the file. Returns False if the file has changed."""
        count = posix.read_without_waiting(descriptor, view, offset)
        if count is None or count < len(view):
            count = await self._disk.run(os.preadv, descriptor, [view], offset)
        return count == len(view) and (stamp is None or stamp.fits(os.fstat(descriptor)))

    async def _resolve(self, chunk: int, entry: int, seen: Stamp | None) -> None:
        """Looks at a file that does not have its stamp. If it is not what was shared, it is no longer served."""
        holding = self._swarm.holding
        self._doubt = None
        self._sending_chunk = chunk  # meanwhile the peer is told that this side is alive
        async with self._swarm.looking:
            if chunk == self._doubted:
                gone = await self._disk.run(holding.spoiled, entry, "keeps changing; share it again")
            else:
                gone = await self._disk.run_long(holding.changed, entry, seen, trio.from_thread.check_cancelled)
        self._doubted, self._sending_chunk = chunk, None
        if gone:
            self._swarm.lost(gone)

    async def judge(self, chunk: int) -> bool:
        """Whether a chunk of which the peer complains is good. If not, its file is no longer served.

        This costs as much of the upload limit as sending the chunk did. Raises ProtocolViolation if this exchange did
        not send it, StorageError.
        """
        if not self._chunks_sent or not self._chunks_sent[chunk >> 3] >> (chunk & 7) & 1:
            raise ProtocolViolation("a complaint about a chunk that was not sent")
        place = self._layout.place(chunk)
        await self._traffic.upload.spend(place.size)
        if await self._disk.run_long(self._is_good, chunk):
            return True
        why = "does not have the bytes that were shared; check it, and share it again"
        spoil = partial(self._swarm.holding.spoiled, place.entry, why, for_good=True)
        self._swarm.lost(await self._disk.run(spoil))
        return False

    def _is_good(self, chunk: int) -> bool:
        try:
            with self._swarm.holding.reading(self._layout.place(chunk).entry) as (descriptor, _):
                return content.is_chunk(descriptor, self._layout, chunk)
        except OSError:
            return False
