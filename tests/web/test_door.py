"""A peer on the web in Chromium: logging in, and what pages of other sites cannot do to a user who is."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from selenium.webdriver import Chrome

from p2p import ids
from p2p.control.access.web_access import TOKEN_FILE
from p2p.wire.link import parse_link
from tests.support.pages.browser import complaints, executed, one, strange, until
from tests.support.processes import Peer, make_file

EVIL = """<!doctype html>
<title>evil</title>
<iframe name=hidden></iframe>
<form method=post action="PEER/logout" target=hidden><input name=shoal-form-token value=x></form>
<script>
const tried = {};
const note = (what, told) => { tried[what] = told; };
const image = (address) => new Promise((done) => {
  const made = new Image();
  made.onload = () => done("loaded");
  made.onerror = () => done("refused");
  made.src = address;
});
window.attack = async () => {
  note("image", await image("PEER/s/SHARE/a.png"));
  for (const [what, address, options] of [
    ["read", "PEER/s/SHARE/a.png", {}],
    ["api", "PEER/api/v1/shares", { credentials: "include" }],
    ["post", "PEER/api/v1/unshare", { method: "POST", credentials: "include", body: '{"id": "SHARE"}' }],
    ["sent", "PEER/api/v1/unshare",
      { method: "POST", mode: "no-cors", credentials: "include", body: '{"id": "SHARE"}' }],
  ]) {
    note(what, await fetch(address, options).then((answer) => `${answer.type} ${answer.status}`, () => "refused"));
  }
  document.querySelector("iframe").onload = () => note("form", "answered");
  document.querySelector("form").submit();
  return tried;
};
</script>
"""
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "home")
    with peer.node("--no-dht", "--web-listen", "127.0.0.1:0"):
        yield peer


@pytest.fixture
def share(peer: Peer, tmp_path: Path) -> str:
    make_file(tmp_path / "data" / "b.bin", 10)
    (tmp_path / "data" / "a.png").write_bytes(PICTURE)
    return ids.to_text(parse_link(peer.run("share", tmp_path / "data").out.strip()).share_id)


@pytest.fixture
def elsewhere(peer: Peer, share: str) -> Iterator[int]:
    """The port of another site, on this machine too. Its page attacks the peer."""
    page = EVIL.replace("PEER", peer.run("web").out.strip()).replace("SHARE", share).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_browser_logs_in_and_out(peer: Peer, share: str, chromium: Chrome) -> None:
    url = peer.run("web").out.strip()
    chromium.get(f"{url}/")
    assert one(chromium, "h1").text == "401"
    complaints(chromium)
    chromium.get(peer.run("web", "--code").out.strip())
    until(chromium, lambda driver: driver.current_url == f"{url}/")
    assert one(chromium, "h1").text.startswith("The peer at ")
    (cookie,) = chromium.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert chromium.execute_script("return document.cookie") == ""
    assert chromium.execute_script("return fetch('/api/v1/shares').then((it) => it.json())")[0]["id"] == share
    assert chromium.execute_script("return getComputedStyle(document.body).margin") == "0px", "it has its style"
    assert not executed(chromium)
    assert strange(chromium) == []
    assert complaints(chromium) == []
    one(chromium, "form button").click()
    until(chromium, lambda driver: "logged out" in driver.page_source)
    chromium.get(f"{url}/")
    assert one(chromium, "h1").text == "401"


def test_other_sites_do_nothing(peer: Peer, share: str, elsewhere: int, chromium: Chrome) -> None:
    url = peer.run("web").out.strip()
    chromium.get(peer.run("web", "--code").out.strip())
    until(chromium, lambda driver: driver.current_url == f"{url}/")
    chromium.get(f"{url}/s/{share}/a.png")
    assert chromium.execute_script("return document.images[0].naturalWidth") == 1, "the picture can be loaded"
    for host in ("evil.example", "127.0.0.1"):  # another site, and another origin of the same one
        chromium.get(f"http://{host}:{elsewhere}/")
        tried = chromium.execute_async_script("attack().then(arguments[0])")
        assert tried == dict.fromkeys(("image", "read", "api", "post", "sent"), "refused")
        until(chromium, lambda driver: bool(driver.execute_script("return tried.form")))
    headers = {"authorization": f"Bearer {(peer.home / TOKEN_FILE).read_text().strip()}"}
    with httpx2.Client(base_url=url, headers=headers, trust_env=False) as script:
        figures = script.get("/metrics").text
    for route in ("/s/", "/api/v1/shares", "/api/v1/unshare", "/logout"):
        assert f'requests_total{{route="{route}",status="403"}}' in figures, "they came, and were refused"
    assert 'route="/api/v1/unshare",status="200"' not in figures
    assert peer.run("shares", "--json").json()[0]["id"] == share
    chromium.get(f"{url}/")
    assert one(chromium, "h1").text.startswith("The peer at ")


def test_a_name_that_leads_to_this_machine_shows_nothing(peer: Peer, share: str, chromium: Chrome) -> None:
    """DNS rebinding: the page is of the attacker's name, which now leads here, so that it may read all answers."""
    url = peer.run("web").out.strip()
    rebound = url.replace("127.0.0.1", "rebound.example")
    chromium.get(peer.run("web", "--code").out.strip())
    for path in ("/", f"/s/{share}/a.png", "/api/v1/shares", "/login"):
        chromium.get(rebound + path)
        assert "not known by that name" in chromium.page_source
        status = chromium.execute_script("return performance.getEntriesByType('navigation')[0].responseStatus")
        assert status == 421
