"""A bell, which rings when something has changed, so that tasks that report the change look again."""

import trio


class Bell:
    """A bell with many listeners, none of which misses a ring while it is busy."""

    def __init__(self) -> None:
        self.count = 0
        """How often the bell has rung. A listener compares this with the count that it saw last."""
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
