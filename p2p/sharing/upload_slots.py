"""Upload slots for trio tasks: which peers are served, and which wait.

Under a small upload limit there are few slots, so that each peer served gets its chunks in a reasonable time. A slot
comes with the memory of a frame; whoever waits has none.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from p2p.concurrency.throttle import Throttle
from p2p.core.shares.slots import SlotQueue

POSITION_INTERVAL_S = 5.0
CLAIM_INTERVAL_S = 0.5
"""How often one that waits looks whether a holder must make room for it, unless it knows when one must."""
SLOT_BYTES_PER_S = 16 * 1024
"""How much of the upload limit there must be for each slot."""
MIN_SLOT_BYTES_PER_S = 512
"""The same for the slots given in addition while the limit is not used; getters drop a source at half of this rate."""


class Slot:
    """One exchange's request for an upload slot: it waits until `granted`, and then holds the slot.

    `end` ends the exchange, if it has lost the slot and others need its memory before it has read what was sent.
    """

    buffer: memoryview
    """Room for one frame, while the slot is held."""

    def __init__(self, slots: "UploadSlots", end: Callable[[], None]) -> None:
        self._slots = slots
        self.end = end
        self.granted = trio.Event()

    def must_yield(self, *, within_chunk: bool = False) -> bool:
        """Whether the holder has had its turn and another waits, or has the slot already."""
        return self._slots.must_yield(self, within_chunk=within_chunk)

    def took(self, size: int) -> None:
        """Counts bytes that the holder has taken."""
        self._slots.took(self, size)


class UploadSlots:
    """Grants the upload slots of this peer, at most `most`, in the order that `core.shares.slots` decides."""

    def __init__(self, most: int, quantum_s: float, upload: Throttle) -> None:
        self._upload = upload
        self._most = most
        few, more = self._numbers()
        self._slots: SlotQueue[Slot] = SlotQueue(few, quantum_s, more)
        self._most_spare = more
        self._spare: list[memoryview] = []
        """The memory of those that were served before."""
        self._widened_at = -math.inf

    def _numbers(self) -> tuple[int, int]:
        """How many are served at a time, and how many while they do not use the limit."""
        limit, most = self._upload.bytes_per_s, self._most
        few = max(1, min(most, limit // SLOT_BYTES_PER_S)) if limit else most
        return few, max(few, min(most, limit // MIN_SLOT_BYTES_PER_S))

    def limited(self) -> None:
        """To be called when the upload limit has changed."""
        few, more = self._numbers()
        for slot in self._slots.resize(few, more, trio.current_time()):
            slot.granted.set()
        self._most_spare = more
        self._spare.clear()

    @asynccontextmanager
    async def hold(
        self, host: str, identity: bytes, waiting: Callable[[int], Awaitable[None]], end: Callable[[], None]
    ) -> AsyncIterator[Slot]:
        """Holds a slot for the body. `waiting` gets the position (1: next) while none is free, and 0 once one is."""
        slot = Slot(self, end)
        try:
            if not self._slots.ask(slot, host, identity, trio.current_time()) and not self._claim(slot):
                await self._wait(slot, waiting)
                await waiting(0)
            slot.buffer = self._spare.pop() if self._spare else memoryview(bytearray(self._upload.piece_bytes))
            try:
                yield slot
            finally:
                if len(self._spare) < self._most_spare and len(slot.buffer) == self._upload.piece_bytes:
                    self._spare.append(slot.buffer)
                del slot.buffer
        finally:
            for other in self._slots.leave(slot, trio.current_time()):
                other.granted.set()

    async def _wait(self, slot: Slot, waiting: Callable[[int], Awaitable[None]]) -> None:
        while not slot.granted.is_set():
            await waiting(self._slots.waiting().index(slot) + 1)
            with trio.move_on_after(POSITION_INTERVAL_S):
                await self._granted(slot)
            self._widen()

    async def _granted(self, slot: Slot) -> None:
        while not slot.granted.is_set():
            with trio.move_on_after(min(CLAIM_INTERVAL_S, self._slots.claim_in(slot, trio.current_time()))):
                await slot.granted.wait()
            if self._claim(slot):
                slot.granted.set()

    def _claim(self, slot: Slot) -> bool:
        has_it = self._slots.claim(slot, trio.current_time())
        for other in self._slots.to_end():
            other.end()
        return has_it

    def _widen(self) -> None:
        """Serves one more, once in a while, if those served do not use the limit."""
        now = trio.current_time()
        if self._upload.idle and now - self._widened_at >= POSITION_INTERVAL_S:
            for slot in self._slots.widen(now):
                self._widened_at = now
                slot.granted.set()

    def took(self, slot: Slot, size: int) -> None:
        """Counts bytes that the slot's holder has taken."""
        self._slots.took(slot, size)

    def must_yield(self, slot: Slot, *, within_chunk: bool) -> bool:
        """Whether the slot's holder has had its turn and another waits, or has the slot already."""
        return self._slots.must_yield(slot, trio.current_time(), within_chunk=within_chunk)
