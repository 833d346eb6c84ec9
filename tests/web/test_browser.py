"""The pages in Chromium: what a person sees and does, what hostile names cannot do, and life without scripts."""

from random import Random

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from p2p.formats import format_size
from p2p.site import text
from p2p.wire.link import parse_link
from p2p.wire.tracker import Capacity
from tests.support.pages.browser import complaints, executed, one, requested, strange, until
from tests.support.pages.hostile_names import HOSTILE
from tests.support.tracker_site import Announcer, Site, listing

PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
CONTRAST = """
const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
const light = (rgb) => {
  const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const style = getComputedStyle(at), colour = parse(style.backgroundColor);
    if (style.backgroundImage !== "none") return null;
    if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
  }
  return null;
};
const faint = [];
for (const element of document.body.querySelectorAll("*")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const behind = ground(element);
  if (!own || behind === null || element.closest("svg, .unseen, .skip, .status")) continue;
  const style = getComputedStyle(element);
  const [a, b] = [light(parse(style.color).slice(0, 3)), light(behind)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) faint.push(`${element.tagName}.${element.className} ${element.textContent} ${ratio.toFixed(2)}`);
}
return faint;
"""
"""Texts whose contrast with the ground under them is below 4.5 (WCAG 2, AA); texts on gradients are left out."""


def test_search_open_and_copy(chromium: Chrome, site: Site, announcer: Announcer) -> None:
    share = listing("Kelp forest survey", ("transects/north.csv", 12_000), ("readme.md", 900))
    announcer.announce(share)
    chromium.get(site.url)
    one(chromium, "#q").send_keys("kelp for", Keys.ENTER)
    until(chromium, lambda driver: "/search?q=kelp+for" in driver.current_url)
    one(chromium, ".found .name a").click()
    until(chromium, lambda driver: driver.current_url == f"{site.url}/shares/{share.share}")
    assert chromium.title == "Kelp forest survey \N{EN DASH} Shoal"
    assert one(chromium, "h1").text == "Kelp forest survey"
    button = one(chromium, ".copyable:last-of-type button.copy")
    button.click()
    until(chromium, lambda _: button.text == "Copied")
    field = one(chromium, "#quick")
    field.send_keys(Keys.CONTROL, "v")
    pasted = parse_link(field.get_attribute("value") or "")
    assert (pasted.name, pasted.size) == (share.name, share.size)
    assert complaints(chromium) == []


def test_copying_without_a_clipboard(chromium: Chrome, site: Site, announcer: Announcer) -> None:
    """Plain HTTP from another machine has no clipboard API; the link is copied all the same."""
    announcer.announce(listing("Mangrove census", size=12))
    chromium.get(f"{site.url}/search?q=mangrove")
    chromium.execute_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    button = one(chromium, ".found button.copy")
    button.click()
    until(chromium, lambda _: button.text == "Copied")
    field = one(chromium, "#q")
    field.clear()
    field.send_keys(Keys.CONTROL, "v")
    assert parse_link(field.get_attribute("value") or "").name == "Mangrove census"


@pytest.mark.parametrize("path", ["/", "/network"])
def test_figures_follow_the_network(chromium: Chrome, site: Site, announcer: Announcer, path: str) -> None:
    site.shows(peers=0, shares=0, cores=0)
    chromium.get(f"{site.url}{path}")
    until(chromium, lambda driver: one(driver, "html").get_attribute("data-state") == "live")
    announcer.announce(listing("Plankton counts", size=1 << 20), capacity=Capacity(("wasm",), 7, 1 << 30))
    expected = {"peers": "1", "shares": "1", "cores": "7"}
    until(chromium, lambda driver: {key: one(driver, f"[data-live={key}]").text for key in expected} == expected)
    assert complaints(chromium) == []


def test_curves_are_drawn_afresh(chromium: Chrome, site: Site, announcer: Announcer) -> None:
    chromium.get(f"{site.url}/network")
    chromium.execute_script("document.querySelector('[data-fresh]').id = 'stale'")
    site.shows(shares=0)
    announcer.announce(listing("Seagrass map", size=1000))
    site.shows(shares=1)
    chromium.execute_async_script("redraw().then(arguments[0])")
    assert chromium.find_elements(By.ID, "stale") == []
    assert one(chromium, "[data-fresh] [data-live=shares]").text == "1"


def test_live_figures_are_written_as_the_page_writes_them(chromium: Chrome, site: Site) -> None:
    chromium.get(f"{site.url}/about")
    chance = Random(5)
    drawn = (chance.randrange(10 ** chance.randint(1, 15)) for _ in range(500))
    numbers = [0, 1, 999, 1000, 1023, 1024, 37 * 1024 + 256, 999_999, 10**6, 2**53 - 1, *drawn]
    for name, write in (("count", text.count), ("size", format_size)):
        assert chromium.execute_script(f"return arguments[0].map({name})", numbers) == list(map(write, numbers))


def test_hostile_names_are_only_names(chromium: Chrome, site: Site, announcer: Announcer) -> None:
    shares = [listing(name, (f"dir/{name[:200]}", 1), ("b", 1), seed="hostile") for name in HOSTILE]
    offer = Capacity((HOSTILE[0], HOSTILE[3]), 4, 1 << 30, gpu=HOSTILE[1], policy=HOSTILE[2])
    announcer.announce(*shares, capacity=offer)
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    everywhere = [
        f"/peers/{announcer.peer}",
        "/volunteers",
        "/",
        "/search?q=%3Cscript%3Ewindow.hacked%3D1%3C/script%3E",
    ]
    names = {f"/shares/{share.share}": share.name for share in shares}
    for path in [*names, *everywhere]:
        chromium.get(site.url + path)
        until(chromium, lambda driver: bool(driver.find_elements(By.CSS_SELECTOR, "footer")))
        assert not executed(chromium), path
        assert strange(chromium) == [], path
        counts = chromium.execute_script("return [document.scripts.length, document.documentElement.scrollWidth]")
        assert counts == [1, PHONE["width"]], path
        if path in names:
            assert one(chromium, "h1 bdi").get_property("textContent") == text.visible(names[path])
            link = one(chromium, ".copyable code a").get_attribute("href") or ""
            assert names[path].startswith(parse_link(link).name or "-")
    assert complaints(chromium) == []
    assert all(address.startswith((site.url + "/", "data:image/", "about:")) for address in requested(chromium))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_can_be_read(chromium: Chrome, site: Site, announcer: Announcer, scheme: str) -> None:
    announcer.announce(listing("Coral colours", ("reef.jpg", 1000)), capacity=Capacity(("wasm",), 2, 1 << 30))
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    for path in ("/", "/search?q=coral", "/volunteers", "/network", "/about", f"/peers/{announcer.peer}", "/nowhere"):
        chromium.get(f"{site.url}{path}")
        faint = chromium.execute_script(CONTRAST)
        assert faint == [], path
        assert chromium.execute_script("return document.documentElement.scrollWidth") == PHONE["width"], path
    ground = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(",")) > 3 * 128
    assert light == (scheme == "light")


def test_without_scripts_it_works(chromium: Chrome, site: Site, announcer: Announcer) -> None:
    share = listing("Driftwood almanac", ("january.txt", 3000))
    announcer.announce(share)
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    chromium.get(site.url)
    one(chromium, "#q").send_keys("driftwood", Keys.ENTER)
    until(chromium, lambda driver: "/search?q=driftwood" in driver.current_url)
    link = one(chromium, ".found .take a")
    assert link.is_displayed()
    assert parse_link(link.get_attribute("href") or "").name == share.name
    one(chromium, ".found .name a").click()
    until(chromium, lambda driver: driver.current_url == f"{site.url}/shares/{share.share}")
    assert one(chromium, ".copyable code").text.startswith("shoal get shoal:s/")
    assert chromium.find_elements(By.CSS_SELECTOR, "button.copy") == []
