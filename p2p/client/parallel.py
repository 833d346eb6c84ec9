"""A backend of joblib whose calls are performed by volunteers. It needs the extra `joblib`."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joblib import parallel_config
from joblib.parallel import ParallelBackendBase

from p2p.client.executor import Executor
from p2p.errors import ConfigError

CALLS = 256
"""How many calls are under way if the program does not say how many."""


class Backend(ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Performs the calls of `joblib.Parallel` with an executor."""

    supports_retrieve_callback = True
    supports_timeout = True

    def __init__(self, executor: Executor, **options: Any) -> None:
        super().__init__(**options)
        self._executor = executor

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Remembers what the results are for. Returns the number of calls that are under way at a time."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls are under way at a time."""
        return n_jobs if n_jobs is not None and n_jobs > 0 else CALLS

    def submit(self, batch: Any, callback: Callable[[Any], None] | None = None) -> Any:
        """Calls what is in the batch. Raises ConfigError for what cannot go to volunteers."""
        futures = [self._executor.submit(_own(function, args), *args, **named) for function, args, named in batch.items]
        calls = Calls(futures)
        if callback is not None:
            calls.tell(callback)
        return calls

    def retrieve_result_callback(self, out: Any) -> Any:
        """The results of a batch that has ended."""
        return out.get()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Goes on after a failure: the executor is the program's."""


class Calls:
    """The calls of one batch."""

    def __init__(self, futures: list[Any]) -> None:
        self._futures = futures

    def tell(self, callback: Callable[[Any], None]) -> None:
        """Calls back once, when all have ended."""
        left, changing = len(self._futures), threading.Lock()

        def ended(future: Any) -> None:
            nonlocal left
            with changing:
                left -= 1
                is_last = not left
            if is_last:
                callback(self)

        for future in self._futures:
            future.add_done_callback(ended)

    def get(self, timeout: float | None = None) -> list[Any]:
        return [future.result(timeout) for future in self._futures]


@contextmanager
def parallel(executor: Executor, n_jobs: int) -> Iterator[None]:
    """What `joblib.Parallel` calls within this context is called by the executor."""
    with executor, parallel_config(backend=Backend(executor), n_jobs=n_jobs):
        yield


def _own(function: Any, args: tuple[Any, ...]) -> Any:
    for one in (function, *args):
        if "sklearn" in {str(of.__module__).partition(".")[0] for of in (one, type(one)) if hasattr(of, "__module__")}:
            raise ConfigError(
                "scikit-learn cannot compute at volunteers: its estimators would have to go as pickles, which Shoal "
                "neither sends nor reads. Leave them to another backend: with parallel_config(backend='loky')"
            )
    return function
