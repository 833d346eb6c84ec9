"""ProcessPoolExecutor of the standard library."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from scripts.bench.rivals.engines.engine import Function


class _Pool:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def each(self, function: Function, items: Sequence[Any]) -> list[Any]:
        return [future.result() for future in [self._pool.submit(function, item) for item in items]]

    def alone(self, function: Function, item: Any) -> Any:
        return self._pool.submit(function, item).result()

    def as_they_come(self, function: Function, items: Sequence[Any]) -> Iterator[Any]:
        return self._pool.map(function, items)


@contextmanager
def open_engine(workers: int) -> Iterator[_Pool]:
    with ProcessPoolExecutor(workers) as pool:
        yield _Pool(pool)
