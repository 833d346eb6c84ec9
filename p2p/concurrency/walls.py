"""Walls: what goes wrong in one conversation, command, job, fetch or periodic task ends that one alone.

A wall stands around each such activity. Expected errors (`ShoalError`) pass through it as they are, freed from the
exception groups of nurseries. Any other exception is a bug in Shoal itself: the wall logs and counts it, and raises
`InternalError` in its place, so whoever handles expected errors handles bugs too, and the peer lives on. Cancellation,
KeyboardInterrupt, SystemExit and trio's own internal errors are not stopped.

Each wall is a constant of the module that uses it, and is in the register `WALLS`, so that tests can try them all.
"""

import logging
import time
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import TypeVarTuple

import trio

from p2p import causes
from p2p.backoff import Backoff
from p2p.errors import InternalError, PeerError, ShoalError

logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
MAX_PLACES = 256
SETTLED_S = 300.0
"""How long a task must run before a failure of it is the first again, for the pauses before it is restarted."""

_PASSING = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit, trio.TrioInternalError)

Args = TypeVarTuple("Args")


class BugLog:
    """Logs bugs with their tracebacks, at most one a minute from each place in the code, and counts them all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """For each place: when it was logged last, and how many bugs there have not been logged since."""
        self.count = 0
        """How many bugs there were since this process started."""

    def report(self, where: str, bug: BaseException) -> None:
        """Counts a bug, and logs it unless another from the same place was logged a moment ago."""
        self.count += 1
        now = self._clock()
        place = f"{where}: {type(bug).__name__} at {_origin(bug)}"
        logged_at, unlogged = self._places.pop(place, (float("-inf"), 0))
        if now - logged_at < LOG_INTERVAL_S:
            self._places[place] = logged_at, unlogged + 1
            return
        self._places[place] = now, 0
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)
        more = f", and {unlogged} more like it since the last one was logged" if unlogged else ""
        logger.error("an error of Shoal's own (%s)%s; please report it", where, more, exc_info=bug)


bugs = BugLog()
"""The bugs of this process, whichever peer in it they concerned: like the log, there is one per process."""


class Wall:
    """A boundary around one kind of activity, such as a "conversation"; `name` is used in the log."""

    def __init__(self, name: str) -> None:
        if name in WALLS:
            raise ValueError(f"there is a wall around a {name} already")
        self.name = name
        WALLS[name] = self

    @contextmanager
    def around(self) -> Iterator[None]:
        """Runs the body. Raises a ShoalError from it, plainly, and InternalError for a bug in it."""
        try:
            yield
        except ShoalError:
            raise
        except BaseException as error:
            failure = self._judged(error)
            if failure is error:
                raise
        else:
            return
        raise failure

    async def absorb(self, task: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Runs a task whose bugs concern nobody else. Raises ShoalErrors, but not InternalError."""
        with suppress(InternalError), self.around():
            await task(*args)

    async def contain(self, task: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Runs a task whose failure concerns nobody else: its errors are logged, and not raised."""
        try:
            await self.absorb(task, *args)
        except PeerError as error:
            logger.debug("%s: %s", self.name, error)
        except ShoalError as error:
            logger.warning("%s", error)

    async def keep(self, task: Callable[[], Awaitable[None]], random: Random) -> None:
        """Runs a task until it returns. Restarts it whenever it fails, at growing intervals."""
        backoff = Backoff()
        while True:
            started = trio.current_time()
            try:
                with self.around():
                    return await task()
            except InternalError:
                pass  # logged already
            except ShoalError as error:
                logger.warning("%s", error)
            if trio.current_time() - started > SETTLED_S:
                backoff.worked()
            await trio.sleep(backoff.failed(random.random()))

    def _judged(self, error: BaseException) -> BaseException:
        """Reports the bugs in an exception or group. Returns what is to be raised in its place."""
        group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
        passing, rest = group.split(_PASSING)
        if rest is None:
            return error
        leaves = list(_leaves(rest))
        found = [leaf for leaf in leaves if not isinstance(leaf, ShoalError)]
        for bug in found:
            bugs.report(self.name, bug)
        if passing is not None:
            return passing
        if not found:
            return leaves[0]
        # Nobody foresaw it there, but it is not Shoal's: the disk is full, say.
        failure = InternalError(causes.of_the_machine(found[0]))
        failure.__cause__ = found[0]
        return failure


WALLS: dict[str, Wall] = {}
"""All walls by name."""


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    elif error is not None:
        yield error


def _origin(error: BaseException) -> str:
    """Where the exception was raised: file and line."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
