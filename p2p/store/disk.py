"""Disk threads, in which tasks make blocking calls."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

THREADS = 4
LONG_THREADS = 2

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Disk:
    """Runs blocking calls in a few threads, shared by everything in a peer that reads or writes files.

    Work that keeps a processor busy for long must not run here: the verifier of a fetch, the hashing of a share and the
    proof of work for a node id have threads of their own.
    """

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(THREADS)
        self._long_limiter = trio.CapacityLimiter(LONG_THREADS)

    async def run(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Calls a blocking function in a thread, once one is free, and returns its result."""
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)

    async def run_long(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Does the same for calls that read whole files, in threads of their own, so that others need not wait.

        They should call `trio.from_thread.check_cancelled` now and then.
        """
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._long_limiter)
