"""The memory of answers under way: a budget for all of them, and whose turn it is if there is none.

An answer borrows memory for each of its pieces, and gives it back once its client has taken the piece. Whoever finds
none free waits for it. Then those whose clients have taken nothing for a while lose theirs, and begin again once their
clients take more.
"""

import trio

MOST_BYTES = 32 * 1024 * 1024
LEAST_BYTES = 64 * 1024
"""How much an answer that wants more gets at least, however many there are."""
UNREAD_S = 2.0
"""How long a client may take nothing while others wait for the memory."""


class Lent:
    """The memory of a piece, of `size` bytes, or of one after another."""

    def __init__(self, memory: "Memory", size: int) -> None:
        self._memory = memory
        self.size = size
        self._until_needed = trio.CancelScope()
        self.used_at = trio.current_time()
        """When the client last took something."""

    def until_needed(self) -> trio.CancelScope:
        """A scope to use it in, which is cancelled once others need it."""
        needed = self._until_needed.cancel_called
        self._until_needed = trio.CancelScope()
        if needed:
            self.recall()
        return self._until_needed

    def recall(self) -> None:
        """Asks for it back."""
        self._until_needed.cancel()

    def is_used(self) -> None:
        """Notes that the client takes what it asked for."""
        self.used_at = trio.current_time()

    def give_back(self) -> None:
        """Ends the loan, unless it has ended."""
        self._memory.take_back(self)


class Memory:
    """At most MOST_BYTES of memory for all answers."""

    def __init__(self) -> None:
        self._most = self._free = MOST_BYTES
        self._lent: set[Lent] = set()
        self._queue = trio.StrictFIFOLock()
        self._came_back = trio.Event()

    @property
    def lent(self) -> int:
        """How many bytes are lent now."""
        return self._most - self._free

    @property
    def is_wanted(self) -> bool:
        """Whether others wait for memory."""
        return self._queue.locked()

    async def borrow(self, wanted: int) -> Lent:
        """Waits for memory. Lends as much as wanted, or less if there are many answers."""
        if self._queue.locked() or not (size := self._size(wanted)):
            async with self._queue:
                while not (size := self._size(wanted)):
                    await self._until_some_comes_back()
        lent = Lent(self, size)
        self._lent.add(lent)
        self._free -= size
        return lent

    def take_back(self, lent: Lent) -> None:
        if lent in self._lent:
            self._lent.discard(lent)
            self._free += lent.size
            self._came_back.set()
            self._came_back = trio.Event()

    def _size(self, wanted: int) -> int:
        """How much can be lent now; 0: none."""
        fair = min(wanted, max(LEAST_BYTES, self._most // (len(self._lent) + 1)))
        return min(fair, self._free) if self._free >= min(wanted, LEAST_BYTES) else 0

    async def _until_some_comes_back(self) -> None:
        """Asks whoever's client has taken nothing for longest to give its memory back, once that is long enough."""
        unread = min(self._lent, key=lambda lent: lent.used_at)
        with trio.move_on_at(unread.used_at + UNREAD_S):
            await self._came_back.wait()
            return
        unread.recall()
        unread.is_used()  # if it does not give it back at once, others are asked before it is asked again
        with trio.move_on_after(UNREAD_S):
            await self._came_back.wait()
