"""Threads for the disk: how blocking calls are made from a task."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

THREADS = 4

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Disk:
    """A few threads, shared by all that reads and writes in one peer.

    Work that takes a processor for long does not belong here: the verifier of a fetch, the hashing of a share and the
    work of a node id have threads of their own.
    """

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(THREADS)

    async def run(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Calls a blocking function in a thread, when one is free, and returns what it returns."""
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)
