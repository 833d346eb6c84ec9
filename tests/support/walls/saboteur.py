"""Throws exceptions behind walls, at their entries or in the middle, in place of bugs."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NoReturn

import trio

from p2p.concurrency import walls
from p2p.concurrency.walls import Wall
from tests.support.world import until

KINDS: tuple[Callable[[], Exception], ...] = (
    lambda: ValueError("a surprise"),
    lambda: OverflowError(2**70),
    lambda: OSError(5, "Input/output error"),
    lambda: KeyError("missing"),
    lambda: RecursionError(),
    lambda: MemoryError(),
    lambda: AssertionError(),
    lambda: ExceptionGroup("several", [TypeError(), TimeoutError()]),
)
"""What bugs look like."""


class Saboteur:
    """Throws behind walls: at the next entry, or where the task behind the wall waits just now."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.entered: Counter[str] = Counter()
        self.inside: dict[str, list[trio.lowlevel.Task]] = {}
        self.armed: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches all walls while the body runs."""
        around = Wall.around

        @contextmanager
        def watched(wall: Wall) -> Iterator[None]:
            with around(wall), self._behind(wall.name):
                yield

        setattr(Wall, "around", watched)  # noqa: B010  mypy knows methods as constants
        try:
            yield
        finally:
            setattr(Wall, "around", around)  # noqa: B010

    @contextmanager
    def _behind(self, name: str) -> Iterator[None]:
        self.entered[name] += 1
        if name in self.armed:
            self.armed.discard(name)
            raise self._surprise()
        tasks = self.inside.setdefault(name, [])
        task = trio.lowlevel.current_task()
        tasks.append(task)
        try:
            yield
        finally:
            tasks.remove(task)

    def strike_now(self, name: str) -> bool:
        """Throws in the middle of a task that waits behind the wall, if there is one that can be thrown at."""
        for task in self.inside.get(name, [])[-1:]:
            if task._abort_func is not None:
                task._attempt_abort(self._throw)
                return True
        return False

    async def strike(self, name: str) -> None:
        """Throws in the middle of a task behind the wall, which has to be there soon."""
        count = walls.bugs.count
        while walls.bugs.count == count:
            self.strike_now(name)
            await trio.sleep(0.001)

    async def returned(self, name: str) -> None:
        """Waits until there is a task behind the wall again."""
        await until(lambda: bool(self.inside.get(name)))

    def _throw(self) -> NoReturn:
        raise self._surprise()

    def _surprise(self) -> Exception:
        return self._random.choice(KINDS)()
