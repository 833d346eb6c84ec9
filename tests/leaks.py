"""What a test must not leave behind: open descriptors, threads, child processes."""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIO_THREADS = ("trio.", "Trio")


def _descriptors() -> set[str]:
    found = set()
    for item in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{item.name} -> {item.readlink()}")
        except OSError:
            continue  # the listing's own
    return {name for name in found if "/proc/" not in name}


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if not thread.daemon}


def _children() -> set[str]:
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(task.read_text().split()) if task.exists() else set()


def _present() -> tuple[set[str], set[str], set[str]]:
    return _descriptors(), _threads(), _children()


@contextmanager
def none_left() -> Iterator[None]:
    """Fails where the body leaves something behind. What only waits for the collector is collected first."""
    before = _present()
    yield
    if any(now - then for then, now in zip(before, _present(), strict=True)):
        gc.collect()  # a slow step, and seldom needed
    for kind, then, now in zip(("descriptors", "threads", "children"), before, _present(), strict=True):
        assert not now - then, f"{kind} left behind: {now - then}"
