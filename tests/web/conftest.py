"""One tracker and one browser for all tests here: both are slow to start. Each test announces names of its own."""

import shutil
from collections.abc import Iterator

import httpx2
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.support.leaks import none_left
from tests.support.processes import Peer
from tests.support.tracker_site import NETWORK, Announcer, Site

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="session")
def _all_closed() -> Iterator[None]:
    """Around tracker and browser both: what either opens anew while the other lives is closed before this looks."""
    with none_left():
        yield


@pytest.fixture(scope="session")
def site(_all_closed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
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


@pytest.fixture(scope="session")
def _chromium(_all_closed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    assert all(programs.values()), f"these tests need Debian's chromium and chromium-driver; found {programs}"
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"] or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture
def chromium(_chromium: webdriver.Chrome) -> webdriver.Chrome:
    """The browser with an empty page, its logs empty, and nothing emulated."""
    _chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    _chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    _chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    _chromium.get("about:blank")
    for kind in ("browser", "performance"):
        _chromium.get_log(kind)  # type: ignore[no-untyped-call]
    return _chromium
