"""One tracker and one browser for all tests here: both are slow to start. Each test announces names of its own."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.support.pages.browser import all_closed as all_closed
from tests.support.pages.browser import chromium as chromium
from tests.support.pages.browser import running_chromium as running_chromium
from tests.support.processes import Peer
from tests.support.tracker_site import NETWORK, Announcer, Site


@pytest.fixture(scope="session")
def site(all_closed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`shoal tracker` as a process of its own, ready."""
    folder = tmp_path_factory.mktemp("tracker")
    with (
        Peer(folder / "home", network=NETWORK).start(
            "tracker", "--listen", "127.0.0.1:0", "--db", folder / "tracker.db", "--network", NETWORK
        ) as running,
        httpx2.Client(timeout=20) as client,
    ):
        word, url = running.line().split(" ")
        assert word == "ready"
        client.base_url = httpx2.URL(url)
        yield Site(url.rstrip("/"), client)
        assert running.is_running()
        assert "Traceback" not in running.err


@pytest.fixture
def announcer(site: Site) -> Iterator[Announcer]:
    """A peer that announces, and takes everything back at the end of its test."""
    announcer = Announcer(site)
    yield announcer
    announcer.bye()
