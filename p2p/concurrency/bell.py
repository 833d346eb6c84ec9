"""A signal that something has changed. It wakes the tasks that report changes, which then look again."""

import trio


class Bell:
    """A signal to many listeners. A listener that is busy when the bell rings learns of it afterwards, from `count`."""

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
