"""A lock that costs a turn of the event loop only if it must be waited for."""

import trio


class Turn:
    """Held by one task at a time, as `async with turn`; others wait, first come, first served.

    `trio.Lock` lets all other tasks run even when it is free. So the body must have a checkpoint of its own.
    """

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
