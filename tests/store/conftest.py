"""What the tests of the store share: a home with its database, and a look at what they leave behind."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from p2p.core.shares.manifest import ShareLimits
from p2p.store.database import Database
from p2p.store.fetches import Fetches
from p2p.store.library import Library
from tests.support.leaks import none_left


@pytest.fixture(autouse=True, scope="module")
def _nothing_left() -> Iterator[None]:
    # A look at every test would take longer than most of them.
    with none_left():
        yield


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    database = Database(home)
    yield database
    database.close()


@pytest.fixture
def library(database: Database) -> Library:
    return Library(database, ShareLimits())


@pytest.fixture
def records(database: Database, home: Path) -> Fetches:
    return Fetches(database, home)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a disk of so many bytes; skips where only root may."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("only root can mount a small disk")
        where = tmp_path / f"disk{len(mounted)}"
        where.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "shoal-test", str(where)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this machine does not let its root mount")
        mounted.append(where)
        return where

    yield mount
    for where in mounted:
        subprocess.run(["umount", str(where)], check=True)


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """For the body, this thread's rights to files are those of a user who is not root.

    Paths must be relative to `tmp_path`: the folders above it may not be his.
    """

    @contextmanager
    def drop() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        if sys.platform != "linux":
            pytest.skip("root may do everything")
        libc = ctypes.CDLL(None, use_errno=True)
        libc.setfsuid(65534)
        try:
            yield
        finally:
            libc.setfsuid(0)

    monkeypatch.chdir(tmp_path)
    if os.geteuid() == 0:
        tmp_path.chmod(0o777)
    return drop
