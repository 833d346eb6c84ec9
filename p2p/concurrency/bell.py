"""A bell: rung when something has changed, so that those who tell others of it look again."""

import trio


class Bell:
    """A bell with many listeners, none of which misses a ring while it is busy."""

    def __init__(self) -> None:
        self.count = 0
        """How often the bell has rung; listeners compare it with the count that they last saw."""
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wakes the listeners: something has changed."""
        self.count += 1
        self._rung.set()
        self._rung = trio.Event()

    async def after(self, count: int) -> None:
        """Waits until the bell has rung more than `count` times."""
        while self.count <= count:
            await self._rung.wait()
