"""Chromium as a person uses it, and what it tells of a page: whether anything ran, what it asked for, what it refused.

The names in `ELSEWHERE` are those of web sites of others, which are on this machine too; there are no more names.
"""

import json
import shutil
from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.leaks import none_left

PATIENCE_S = 20
ELSEWHERE = ("evil.example", "rebound.example")
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
    "--host-resolver-rules="
    + " , ".join((*(f"MAP {name} 127.0.0.1" for name in ELSEWHERE), "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1")),
)
STRANGE = (
    "base, main b, main script, main style, main img, main iframe, main meta, main link, "
    "[onload], [onerror], [ontoggle], [onmouseover], [onfocus]"
)
"""What pages of Shoal do not have, and hostile names would bring."""


@pytest.fixture(scope="session")
def all_closed() -> Iterator[None]:
    """Around servers and browser both: what either opens anew while the other lives is closed before this looks."""
    with none_left():
        yield


@pytest.fixture(scope="session")
def running_chromium(all_closed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """The one browser of all tests, which is slow to start."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    assert all(programs.values()), f"these tests need Debian's chromium and chromium-driver; found {programs}"
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"] or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(programs["chromedriver"]))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "deny"})
    yield driver
    driver.quit()


@pytest.fixture
def chromium(running_chromium: Chrome) -> Chrome:
    """The browser with an empty page, no cookies, its logs empty, and nothing emulated."""
    driver = running_chromium
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.get("about:blank")
    requested(driver)
    complaints(driver)
    return driver


def until(chromium: Chrome, happened: Callable[[Chrome], bool]) -> None:
    WebDriverWait(chromium, PATIENCE_S, poll_frequency=0.02).until(happened)


def one(chromium: Chrome, selector: str) -> WebElement:
    return chromium.find_element(By.CSS_SELECTOR, selector)


def executed(chromium: Chrome) -> bool:
    """Whether a hostile name or file has run in the page."""
    return bool(chromium.execute_script("return typeof window.hacked !== 'undefined'"))


def strange(chromium: Chrome) -> list[str]:
    """What the page has that it should not have, as HTML."""
    found: list[str] = chromium.execute_script(
        "return Array.from(document.querySelectorAll(arguments[0]), (one) => one.outerHTML)", STRANGE
    )
    return found


def requested(chromium: Chrome) -> set[str]:
    """Every address that was asked for since the logs were last read."""
    entries = chromium.get_log("performance")  # type: ignore[no-untyped-call]
    events = [json.loads(entry["message"])["message"] for entry in entries]
    return {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}


def complaints(chromium: Chrome) -> list[str]:
    """What the console says: scripts that failed, and whatever the Content-Security-Policy held back."""
    return [entry["message"] for entry in chromium.get_log("browser")]  # type: ignore[no-untyped-call]
