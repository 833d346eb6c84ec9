"""Peers for system tests: each has a home beneath the test's own folder, all are in one network of the tests."""

from pathlib import Path

import pytest

from tests.support.compiled import compiled as compiled
from tests.support.processes import Peer


@pytest.fixture
def origin(tmp_path: Path) -> Peer:
    """The peer that has something."""
    return Peer(tmp_path / "origin")


@pytest.fixture
def other(tmp_path: Path) -> Peer:
    """The peer that wants it."""
    return Peer(tmp_path / "other")
