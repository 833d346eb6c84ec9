"""Supervision: what a failing disk may stop, and what it may not.

A full disk, or a database that another program has locked, ends the user's request with an error; it never ends the
peer. A task that the peer runs on its own is restarted, at growing intervals.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random

import trio

from p2p.core.backoff import Backoff
from p2p.errors import StorageError

logger = logging.getLogger(__name__)


async def persist(task: Callable[[], Awaitable[None]], random: Random) -> None:
    """Runs a task until it returns. Restarts it whenever it raises StorageError, at growing intervals."""
    backoff = Backoff()
    while True:
        try:
            with storage_errors_plain():
                return await task()
        except StorageError as error:
            logger.warning("%s", error)
        await trio.sleep(backoff.failed(random.random()))


@contextmanager
def storage_errors_plain() -> Iterator[None]:
    """Raises a StorageError from the body as it is, not wrapped in the exception groups of the body's nurseries."""
    failure: BaseException | None = None
    try:
        yield
    except* StorageError as errors:
        failure = errors
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if failure is not None:
        raise failure
