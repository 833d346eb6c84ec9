"""Readers that wait for chunks: how many seconds the one that has waited longest has got nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Waits:
    """The readers of one fetch that wait now."""

    def __init__(self) -> None:
        self._since: dict[object, float] = {}

    @property
    def longest_s(self) -> float:
        """For how long a reader has waited and got nothing, in seconds; 0 if none waits."""
        now = trio.current_time()
        return now - min(self._since.values(), default=now)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts a reader that waits while the body runs."""
        reader = object()
        self._since[reader] = trio.current_time()
        try:
            yield
        finally:
            del self._since[reader]
