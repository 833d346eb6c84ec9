"""HTTP to servers that strangers may have named: where it goes, what it takes, and when it gives up."""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from p2p.errors import ConfigError, MalformedMessage, NotAllowed, PeerError, PeerGone, Refused
from p2p.net import http
from p2p.net.http import Web, check_url, origin
from tests.support.constants import Shorten

MOST = 1000
Serve = Callable[[trio.SocketStream], Awaitable[None]]


class Server:
    """A real socket on loopback that says what the test wants, and counts who came."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                self.requests.append(bytes(await stream.receive_some()))
                await stream.send_all(self.answers.pop(0) if self.answers else OK)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def redirect(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()


async def start(nursery: trio.Nursery, server: Server, serve: Serve | None = None) -> str:
    listeners = await nursery.start(partial(trio.serve_tcp, serve or server.serve, 0, host="127.0.0.1"))
    server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    return server.url


@pytest.fixture
async def client(nursery: trio.Nursery) -> Any:
    """Asks anything that is trusted: the servers of the test, once they are known."""
    opened: list[Web] = []

    def make(*trusted: str) -> Web:
        opened.append(Web(trusted))
        return opened[-1]

    yield make
    for one in opened:
        await one.close()


async def test_a_server_that_the_user_named_is_asked_wherever_it_is(nursery: trio.Nursery, client: Any) -> None:
    server = Server()
    url = await start(nursery, server)
    answered = await client(url).get(f"{url}/api?q=1", most_bytes=MOST)
    assert (answered.status, answered.body) == (200, b"{}")
    assert b"host: " + url.removeprefix("http://").encode() in server.requests[0].lower()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"]
)
async def test_a_server_on_this_machine_is_not_asked_for_a_stranger(
    nursery: trio.Nursery, client: Any, host: str
) -> None:
    server = Server()
    port = (await start(nursery, server)).rpartition(":")[2]
    with pytest.raises((NotAllowed, PeerGone)):
        await client().get(f"http://{host}:{port}/", most_bytes=MOST)
    assert not server.requests


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "[fe80::1]", "[fd00::1]", "[64:ff9b::10.0.0.1]"]
)
async def test_nor_one_of_a_private_network(client: Any, host: str) -> None:
    with pytest.raises((NotAllowed, PeerGone)):
        await client().get(f"http://{host}/", most_bytes=MOST)


class Names(trio.abc.HostnameResolver):
    """Names that lead to this machine, the second time at the latest."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise OSError("not asked for")


async def test_a_name_that_leads_to_this_machine_is_not_asked(nursery: trio.Nursery, client: Any) -> None:
    server = Server()
    port = (await start(nursery, server)).rpartition(":")[2]
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.1"))
    with pytest.raises(NotAllowed, match=r"tracker\.example is not on the open Internet"):
        await client().get(f"http://tracker.example:{port}/", most_bytes=MOST)
    assert not server.requests


async def test_a_name_is_asked_for_once_so_it_cannot_mean_another_machine_a_moment_later(
    nursery: trio.Nursery, client: Any
) -> None:
    server = Server()
    port = (await start(nursery, server)).rpartition(":")[2]
    names = Names("127.0.0.1", "203.0.113.1")
    trio.socket.set_custom_hostname_resolver(names)
    await client(f"http://tracker.example:{port}").get(f"http://tracker.example:{port}/", most_bytes=MOST)
    assert names.answers == ["203.0.113.1"]
    assert f"host: tracker.example:{port}".encode() in server.requests[0].lower()


async def test_silent_servers_of_strangers_hold_up_none_that_the_user_named(nursery: trio.Nursery, client: Any) -> None:
    server = Server()
    url = await start(nursery, server)

    class Silent(Names):
        async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
            await trio.sleep_forever()
            raise AssertionError

    trio.socket.set_custom_hostname_resolver(Silent())
    asking = client(url)
    async with trio.open_nursery() as strangers:
        for number in range(2 * http.MAX_REQUESTS):
            strangers.start_soon(partial(asking.get, f"http://silent{number}.example/", most_bytes=MOST))
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(http.REQUEST_TIMEOUT_S / 2):
            assert (await asking.get(url, most_bytes=MOST)).status == 200
        strangers.cancel_scope.cancel()


async def test_a_redirect_is_followed_to_a_server_that_may_be_asked(nursery: trio.Nursery, client: Any) -> None:
    other, server = Server(), Server()
    to = await start(nursery, other)
    server.answers.append(redirect(f"{to}/there"))
    url = await start(nursery, server)
    assert (await client(url, to).get(url, most_bytes=MOST)).status == 200
    assert other.requests[0].startswith(b"GET /there ")


async def test_a_redirect_is_judged_anew(nursery: trio.Nursery, client: Any) -> None:
    hidden, server = Server(), Server()
    server.answers.append(redirect(await start(nursery, hidden)))
    url = await start(nursery, server)
    with pytest.raises(NotAllowed):
        await client(url).get(url, most_bytes=MOST)
    assert not hidden.requests


PORTS = ["http://127.0.0.1:65536/", "//user@there:70000/", "http://there:-1/", "http://there:\u0663/"]


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "gopher://x/", "http://", "//", "", "http://a b/", "\x00", *PORTS]
)
async def test_a_redirect_to_nonsense_ends_it(nursery: trio.Nursery, client: Any, to: str) -> None:
    server = Server(*[redirect(to)] * 9)
    url = await start(nursery, server)
    with pytest.raises(PeerError):
        await client(url).get(url, most_bytes=MOST)


async def test_a_server_that_redirects_to_itself_is_left(nursery: trio.Nursery, client: Any) -> None:
    server = Server(*[redirect("/again")] * 9)
    url = await start(nursery, server)
    with pytest.raises(Refused, match="too often"):
        await client(url).get(url, most_bytes=MOST)
    assert len(server.requests) == http.MAX_REDIRECTS + 1


async def test_an_announce_is_not_carried_elsewhere(nursery: trio.Nursery, client: Any) -> None:
    other, server = Server(), Server()
    to = await start(nursery, other)
    server.answers.append(redirect(to, 308))
    url = await start(nursery, server)
    with pytest.raises(Refused, match="redirects announces"):
        await client(url, to).post(url, b"{}", {}, most_bytes=MOST)
    assert not other.requests


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 2000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2000\r\n\r\n" + b"\x1f\x8b" + b"x" * 1998,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000,
        b"not HTTP at all\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
    ],
)
async def test_answers_without_measure_or_sense(nursery: trio.Nursery, client: Any, answer: bytes) -> None:
    server = Server(answer)
    url = await start(nursery, server)
    with pytest.raises((MalformedMessage, PeerGone)):
        await client(url).get(url, most_bytes=MOST)
    assert (await client(url).get(url, most_bytes=MOST)).status == 200


async def test_a_server_that_says_nothing_is_given_up(nursery: trio.Nursery, client: Any, shorten: Shorten) -> None:
    shorten(http, "REQUEST_TIMEOUT_S", 0.2)

    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    url = await start(nursery, Server(), silent)
    with pytest.raises(PeerGone, match=r"did not answer within|broke off"):
        await client(url).get(url, most_bytes=MOST)


async def test_nobody_there(client: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(PeerGone, match="cannot be reached"):
            await client(url).get(url, most_bytes=MOST)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://tracker.example/", "http://tracker.example"),
        (" https://tracker.example:8000/shoal/ ", "https://tracker.example:8000/shoal"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_the_url_of_a_tracker(text: str, url: str) -> None:
    assert check_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tracker.example",
        "udp://tracker.example:80",
        "file:///etc/passwd",
        "http://",
        "http://:80",
        "http://host:0",
        "http://host:99999",
        "http://user:secret@host",
        "http://host?x=1",
        "http://host#x",
        "http://ho st",
        "http://höst",
        "http://host/\x1b[31m",
        "http://" + "a" * 600,
        "http://[::1",
        "http://[::1%25eth0]]",
    ],
)
def test_what_is_no_tracker_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        check_url(text)


def test_a_server_is_its_scheme_host_and_port() -> None:
    assert origin("http://Host/a") == origin("http://host:80") != origin("https://host:80")
