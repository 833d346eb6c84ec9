"""Tests of the tracker get a world of peers where they ask for it, and must leave nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2p import identity as identities
from p2p.net.dialer import Dialer
from p2p.net.tls import Contexts
from tests.support.announces import NETWORK
from tests.support.leaks import clean as clean
from tests.support.world import world as world
from tracker.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "tracker.db") as opened:
        yield opened


@pytest.fixture
def dialer(tmp_path: Path) -> Dialer:
    """Of a tracker with an identity of its own."""
    home = tmp_path / "tracker"
    home.mkdir()
    identity = identities.load_or_create(home)
    return Dialer(identity, Contexts(identity, home, NETWORK), NETWORK)
