"""A cluster's dashboard in Chromium: its own page shows, and pages of other sites neither read nor change anything."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio
from selenium.webdriver import Chrome

from p2p.cluster.network import http_door
from p2p.cluster.network.doors import Doors
from tests.support.pages.browser import one

PAGE = b"<!doctype html><title>engine</title><h1>Workers</h1><script>window.asked = fetch('/info')</script>"
ATTACK = """
const [port, done] = arguments, tried = {};
const socket = new Promise((told) => {
  const made = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  made.onopen = () => told("open");
  made.onerror = () => told("refused");
});
const fetched = (options) => fetch(`http://127.0.0.1:${port}/jobs`, options).then(() => "answered", () => "refused");
(async () => {
  tried.read = await fetched({});
  tried.post = await fetched({ method: "POST", body: "{}" });
  await fetch(`http://127.0.0.1:${port}/jobs`, { method: "POST", mode: "no-cors", body: "{}" }).catch(() => 0);
  tried.socket = await socket;
  done(tried);
})();
"""


@contextmanager
def site(page: bytes, heard: list[str]) -> Iterator[int]:
    """The port of a server of this page, which notes what it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def door(target: int) -> Iterator[int]:
    """The port of a door to a dashboard."""
    ports: queue.Queue[int] = queue.Queue()
    ended = trio.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def connect(host: str, port: int) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", target)

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[int]) -> None:
                await Doors(connect).serve("m0", 8787, speak=http_door.speak, task_status=task_status)

            tokens.append(trio.lowlevel.current_trio_token())
            ports.put(await nursery.start(serve))
            await ended.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    yield ports.get(timeout=20)
    trio.from_thread.run_sync(ended.set, trio_token=tokens[0])
    thread.join()


@pytest.fixture
def heard() -> list[str]:
    """What the dashboard was asked."""
    return []


@pytest.fixture
def dashboard(all_closed: None, heard: list[str]) -> Iterator[int]:
    with site(PAGE, heard) as port, door(port) as opened:
        yield opened


def test_a_dashboard_shows_its_page_and_pages_of_others_get_nothing(
    dashboard: int, heard: list[str], chromium: Chrome
) -> None:
    chromium.get(f"http://127.0.0.1:{dashboard}/status")
    assert one(chromium, "h1").text == "Workers"
    assert chromium.execute_script("return window.asked.then((answer) => answer.status)") == 200
    assert {"/status", "/info"} <= set(heard)
    heard.clear()
    with site(b"<!doctype html><title>evil</title>", []) as elsewhere:
        for host in ("evil.example", "127.0.0.1"):  # another site, and another origin of the same one
            chromium.get(f"http://{host}:{elsewhere}/")
            tried = chromium.execute_async_script(ATTACK, dashboard)
            assert tried == dict.fromkeys(("read", "post", "socket"), "refused")
        chromium.get(f"http://rebound.example:{dashboard}/status")
        assert "no other name" in chromium.page_source
        chromium.get("about:blank")
    assert [path for path in heard if path != "/favicon.ico"] == []
