"""Dask: a LocalCluster of processes with one thread each, without the dashboard."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dask.bag
from dask.distributed import Client, LocalCluster, as_completed

from scripts.bench.rivals.engines.engine import Function


class _Dask:
    def __init__(self, client: Any) -> None:
        self._client = client

    def each(self, function: Function, items: Sequence[Any]) -> list[Any]:
        futures = [self._client.submit(function, item, pure=False) for item in items]
        return list(self._client.gather(futures))

    def alone(self, function: Function, item: Any) -> Any:
        return self._client.submit(function, item, pure=False).result()

    def as_they_come(self, function: Function, items: Sequence[Any]) -> Iterator[Any]:
        futures = [self._client.submit(function, item, pure=False) for item in items]
        return (result for _, result in as_completed(futures, with_results=True))

    def words(self, paths: Sequence[str]) -> Mapping[str, int]:
        return dict(dask.bag.read_text(list(paths)).str.split().flatten().frequencies().compute())


@contextmanager
def open_engine(workers: int) -> Iterator[_Dask]:
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield _Dask(client)
