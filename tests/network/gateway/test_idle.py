"""A peer that nobody asks by HTTP does not load what serves it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAVY = (
    "starlette",
    "h11",
    "jinja2",
    "prometheus_client",
    "p2p.web.application",
    "p2p.gateway.application",
    "p2p.net.http_server",
)


OF_THE_DOOR = ("p2p.control.access.web_access", "p2p.web.listening")
"""What only a peer with a door over TCP loads, from its start on."""


@pytest.mark.parametrize(
    ("web", "socket_of", "status", "of_the_door"),
    [
        ("WebConfig()", "trio.open_unix_socket(socket_path(home))", 404, ()),
        ("WebConfig(listen='127.0.0.1:0')", "trio.open_tcp_stream(*node.access.address)", 401, OF_THE_DOOR),
    ],
)
def test_what_speaks_http_is_loaded_when_it_is_first_asked_for(
    tmp_path: Path, web: str, socket_of: str, status: int, of_the_door: tuple[str, ...]
) -> None:
    program = f"""
        import sys
        from pathlib import Path
        import trio
        from p2p.config import Config, NetworkConfig, WebConfig
        from p2p.control.path import socket_path
        from p2p.control.client import ask
        from p2p.control.protocol import StatusRequest
        from p2p.node import open_node

        home = Path({str(tmp_path / "home")!r})

        def loaded(names):
            return [name for name in names if name in sys.modules]

        async def ignore(event):
            pass

        async def main():
            network = NetworkConfig(name="test-idle", listen=("127.0.0.1:0",), lan=False, dht=False)
            async with open_node(home, Config(network=network, web={web}), foreground=False) as node:
                await ask(home, StatusRequest(), ignore)
                print(loaded({HEAVY!r}), loaded({OF_THE_DOOR!r}))
                async with await {socket_of} as stream:
                    await stream.send_all(b"GET / HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n")
                    print((await stream.receive_some())[:12])
                print(loaded({HEAVY!r}))

        trio.run(main)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    expected = [f"[] {list(of_the_door)!r}", repr(f"HTTP/1.1 {status}".encode()), repr(list(HEAVY))]
    assert ran.stdout.splitlines() == expected, ran.stderr


def test_a_peer_lives_on_if_what_speaks_http_cannot_be_loaded(tmp_path: Path) -> None:
    """Whoever connected over TCP while Shoal was being upgraded, or had no descriptor left, ended the whole peer."""
    program = f"""
        import sys
        from pathlib import Path
        import trio
        from p2p.config import Config, NetworkConfig, WebConfig
        from p2p.control.client import ask
        from p2p.control.protocol import StatusRequest
        from p2p.concurrency.walls import bugs
        from p2p.node import open_node
        from p2p.web import door

        home = Path({str(tmp_path / "home")!r})
        door.LOAD_AGAIN_S = 0.05

        async def ignore(event):
            pass

        async def main():
            network = NetworkConfig(name="test-idle", listen=("127.0.0.1:0",), lan=False, dht=False)
            web = WebConfig(listen='127.0.0.1:0')
            async with open_node(home, Config(network=network, web=web), foreground=False) as node:
                sys.modules["h11"] = None
                async with await trio.open_tcp_stream(*node.access.address) as stream:
                    await stream.send_all(b"GET / HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n")
                    while not bugs.count:
                        await trio.sleep(0.01)
                    await ask(home, StatusRequest(), ignore)
                    del sys.modules["h11"]
                    print((await stream.receive_some())[:12])

        trio.run(main)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "b'HTTP/1.1 401'\n", ran.stderr
