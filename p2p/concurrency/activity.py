"""What is done for the user at the moment, so that a peer that runs for one command ends only once all others have."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Activity:
    """Counts commands, and answers over HTTP, that are under way."""

    def __init__(self) -> None:
        self._count = 0
        self._ended = trio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether any is under way."""
        return bool(self._count)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts one while the body runs."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._ended.set()
                self._ended = trio.Event()

    async def idle(self) -> None:
        """Waits until none is under way."""
        while self._count:
            await self._ended.wait()
