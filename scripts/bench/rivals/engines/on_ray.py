"""Ray: one node on loopback, without the dashboard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from scripts.bench.rivals.engines.engine import Function


class _Ray:
    def __init__(self) -> None:
        self._remotes: dict[Function, Any] = {}

    def each(self, function: Function, items: Sequence[Any]) -> list[Any]:
        remote = self._remote(function)
        return list(ray.get([remote.remote(item) for item in items]))

    def alone(self, function: Function, item: Any) -> Any:
        return ray.get(self._remote(function).remote(item))

    def as_they_come(self, function: Function, items: Sequence[Any]) -> Iterator[Any]:
        remote = self._remote(function)
        waiting = [remote.remote(item) for item in items]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield ray.get(done[0])

    def _remote(self, function: Function) -> Any:
        if function not in self._remotes:
            self._remotes[function] = ray.remote(function)
        return self._remotes[function]


@contextmanager
def open_engine(workers: int) -> Iterator[_Ray]:
    ray.init(
        num_cpus=workers,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level="error",
    )
    try:
        yield _Ray()
    finally:
        ray.shutdown()
