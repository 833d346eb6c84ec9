"""Upload slots for trio tasks: which peers are served, and which wait."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from p2p.core.shares.slots import SlotQueue

POSITION_INTERVAL_S = 5.0


class Slot:
    """One exchange's request for an upload slot: it waits until `granted`, and then holds the slot."""

    def __init__(self, slots: "UploadSlots") -> None:
        self._slots = slots
        self.granted = trio.Event()

    def must_yield(self) -> bool:
        """Whether the holder has had its turn and another waits."""
        return self._slots.must_yield(self)


class UploadSlots:
    """Grants the upload slots of this peer, in the order that `core.shares.slots` decides."""

    def __init__(self, capacity: int, quantum_s: float) -> None:
        self._slots: SlotQueue[Slot] = SlotQueue(capacity, quantum_s)

    @asynccontextmanager
    async def hold(
        self, prefix: str, identity: bytes, waiting: Callable[[int], Awaitable[None]]
    ) -> AsyncIterator[Slot]:
        """Holds a slot for the body. `waiting` gets the position (1: next) while none is free, and 0 once one is."""
        slot = Slot(self)
        try:
            if not self._slots.ask(slot, prefix, identity, trio.current_time()):
                while not slot.granted.is_set():
                    await waiting(self._slots.waiting().index(slot) + 1)
                    with trio.move_on_after(POSITION_INTERVAL_S):
                        await slot.granted.wait()
                await waiting(0)
            yield slot
        finally:
            for other in self._slots.leave(slot, trio.current_time()):
                other.granted.set()

    def must_yield(self, slot: Slot) -> bool:
        """Whether the slot's holder has had its turn and another waits."""
        return self._slots.must_yield(slot, trio.current_time())
