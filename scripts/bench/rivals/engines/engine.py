"""What the benchmark asks of an engine. Each module `on_NAME` has `open_engine(workers)`, which makes one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

Function = Callable[[Any], Any]


class Engine(Protocol):
    """An engine with workers of one core each, up and running."""

    def each(self, function: Function, items: Sequence[Any]) -> list[Any]:
        """The function of every item, each a task of its own, all handed out at once."""
        ...

    def as_they_come(self, function: Function, items: Sequence[Any]) -> Iterable[Any]:
        """The same, but a result may be taken before all are there, in any order."""
        ...

    def alone(self, function: Function, item: Any) -> Any:
        """One task, awaited."""
        ...


class RecordEngine(Engine, Protocol):
    """One that has operations on records."""

    def words(self, paths: Sequence[str]) -> Mapping[str, int]:
        """How often each word is in the files."""
        ...
