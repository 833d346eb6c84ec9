"""What the benchmark asks of an engine. Each module `on_NAME` has `open_engine(workers)`, which makes one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

Function = Callable[[Any], Any]


class Engine(Protocol):
    """An engine with workers of one core each, up and running."""

    def each(self, function: Function, items: Sequence[Any]) -> list[Any]:
        """Applies the function to every item, each in a task of its own, all submitted at once."""
        ...

    def as_they_come(self, function: Function, items: Sequence[Any]) -> Iterable[Any]:
        """Does the same as `each`, but yields results in any order, possibly before all are there."""
        ...

    def alone(self, function: Function, item: Any) -> Any:
        """Runs one task and waits for its result."""
        ...


class RecordEngine(Engine, Protocol):
    """An engine that has operations on records."""

    def words(self, paths: Sequence[str]) -> Mapping[str, int]:
        """How often each word is in the files."""
        ...
