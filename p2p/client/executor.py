"""An executor of `concurrent.futures` whose calls are performed by volunteers: those of one function, in one job."""

import threading
import time
from collections.abc import Callable
from concurrent import futures
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from p2p.client import mapping
from p2p.client.running import Running

Given = ParamSpec("Given")
Found = TypeVar("Found")

GATHER_S = 0.05
"""How long after a call others of the same function may follow that go with it."""
MOST_GATHER_S = 1.0


class Executor(futures.Executor):
    """Performs calls at volunteers, as `Peer.map` does; `call` is that method, and `options` are its.

    Calls of one function that are submitted shortly after each other go together, as one job. A function that raises
    something has JobError in the future of that call; if the job fails as a whole, all its futures have what `map`
    would raise. Leaving a `with` block by an exception, such as KeyboardInterrupt, cancels what is under way.
    """

    def __init__(self, call: Callable[..., Running[Any]], **options: Any) -> None:
        self._map, self._options = call, options
        self._changed = threading.Condition()
        self._gathering: dict[Callable[..., Any], _Batch] = {}
        self._threads: set[threading.Thread] = set()
        self._running: set[Running[Any]] = set()
        self._is_over = self._is_cancelled = False

    def submit(
        self, function: Callable[Given, Found], /, *args: Given.args, **named: Given.kwargs
    ) -> futures.Future[Found]:
        """Calls the function at a volunteer. Raises ConfigError for what cannot go, RuntimeError after `shutdown`."""
        future: futures.Future[Found] = futures.Future()
        item = mapping.encoded((args, named))
        with self._changed:
            if self._is_over:
                raise RuntimeError("This executor was shut down.")
            batch = self._gathering.get(function)
            if batch is None:
                batch = _Batch()
                thread = threading.Thread(target=self._perform, args=(function, batch), name="shoal-calls", daemon=True)
                thread.start()  # it may fail, and waits for this lock
                self._gathering[function] = batch
                self._threads.add(thread)
            batch.add(item, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls, and waits for those under way; `cancel_futures` cancels calls that were not sent yet."""
        with self._changed:
            self._is_over = True
            if cancel_futures:
                for batch in self._gathering.values():
                    batch.cancel()
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads if wait else []:
            thread.join()

    def cancel(self) -> None:
        """Cancels all calls that have not been performed."""
        self.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._is_cancelled, running = True, list(self._running)
        for one in running:
            one.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.cancel()
        self.shutdown()

    def _perform(self, function: Callable[..., Any], batch: "_Batch") -> None:
        """In a thread of its own: waits for calls of the function, and performs them together."""
        try:
            with self._changed:
                while not self._is_over and (left := batch.left_s()) > 0:
                    self._changed.wait(left)
                del self._gathering[function]
            if batch.begin():
                self._call(function, batch)
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())

    def _call(self, function: Callable[..., Any], batch: "_Batch") -> None:
        try:
            running = self._map(mapping.Calls(function), batch.items, **self._options)
            with self._changed:
                self._running.add(running)
            try:
                if self._is_cancelled:
                    running.cancel()
                found = running.result()
            finally:
                with self._changed:
                    self._running.discard(running)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the calls
            found = [error] * len(batch.items)
        for future, one in zip(batch.futures, found, strict=True):
            if isinstance(one, BaseException):
                future.set_exception(one)
            else:
                future.set_result(one)


class _Batch:
    """Calls of one function that go together."""

    def __init__(self) -> None:
        self.items: list[mapping.Encoded] = []
        self.futures: list[futures.Future[Any]] = []
        self._began = self._last = time.monotonic()

    def add(self, item: mapping.Encoded, future: futures.Future[Any]) -> None:
        self.items.append(item)
        self.futures.append(future)
        self._last = time.monotonic()

    def left_s(self) -> float:
        """How long to wait for more."""
        return min(self._last + GATHER_S, self._began + MOST_GATHER_S) - time.monotonic()

    def begin(self) -> bool:
        """Drops the calls that were cancelled. Returns whether any are left."""
        kept = [future.set_running_or_notify_cancel() for future in self.futures]
        self.items = [item for item, keep in zip(self.items, kept, strict=True) if keep]
        self.futures = [future for future, keep in zip(self.futures, kept, strict=True) if keep]
        return bool(self.items)

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()
