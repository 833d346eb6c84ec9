"""A bell: something has changed, so whoever tells others of it has something to tell."""

import trio


class Bell:
    """A bell that many listen to, none of whom may miss it while busy."""

    def __init__(self) -> None:
        self.count = 0
        """How often it rang: what a listener knows is compared with this."""
        self._rung = trio.Event()

    def ring(self) -> None:
        """Something has changed."""
        self.count += 1
        self._rung.set()
        self._rung = trio.Event()

    async def after(self, count: int) -> None:
        """Waits until it has rung more often than this."""
        while self.count <= count:
            await self._rung.wait()
