"""What a test must not leave behind: open descriptors, threads, child processes, and files that others may read."""

import gc
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from p2p.homes import ENVIRONMENTS

PATIENCE_S = 15.0
_SOCKETS = ("tcp", "tcp6", "udp", "udp6", "unix", "netlink")


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
    """Fails if the body leaves something behind.

    Objects that only wait for the garbage collector are collected first, which is slow and seldom needed; and a thread
    that trio has abandoned, such as one that looks up a name for a task that was cancelled, is given time to end.
    """
    before = _present()
    yield
    deadline = time.monotonic() + PATIENCE_S
    while left := _new_since(before):
        assert time.monotonic() < deadline, f"left behind: {left}"
        gc.collect()
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Fails a test that leaves something behind; for the tests of every folder whose conftest imports it."""
    with none_left():
        yield


def _new_since(before: tuple[set[str], ...]) -> set[str]:
    return {_told(one) for then, now in zip(before, _present(), strict=True) for one in now - then}


def _told(one: str) -> str:
    """The description of a descriptor; of a socket, with what the kernel knows about it."""
    inode = one.partition("socket:[")[2].rstrip("]")
    if not inode:
        return one
    tables = {name: Path(f"/proc/self/net/{name}") for name in _SOCKETS}
    found = [
        f"{name}: {line.strip()}"
        for name, table in tables.items()
        if table.exists()
        for line in table.read_text().splitlines()
        if inode in line.split()
    ]
    return f"{one} ({'; '.join(found)})"


def descriptors(top: Path) -> list[int]:
    """The descriptors of this process that are open on paths beneath `top`."""
    found = []
    for item in os.listdir("/proc/self/fd"):
        try:
            where = os.readlink(f"/proc/self/fd/{item}")
        except OSError:
            continue
        if where.startswith(f"{top}/"):
            found.append(int(item))
    return found


def check_private(home: Path) -> None:
    """Fails for a file in a peer's home that other users may read or write, even if they may not enter its folder."""
    found = []
    environments = home / ENVIRONMENTS
    for where, _, names in os.walk(home):
        if os.geteuid() == 0 and Path(where).is_relative_to(environments):
            # The users that root's sandboxes run as read them, where they are seen; nobody else gets there.
            found += [f"{where}: open" for one in environments.iterdir() if one.stat().st_mode & 0o077]
            continue
        for path in (Path(where, name) for name in names):
            with suppress(FileNotFoundError):  # the peer may be at work
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                    found.append(f"{path.relative_to(home)}: {stat.filemode(status.st_mode)}")
    found = [one for one in found if not one.startswith("config.toml:")]
    assert not found, found
