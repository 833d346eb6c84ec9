"""A peer that nobody asks by HTTP does not load what serves it."""

import subprocess
import sys
import textwrap
from pathlib import Path

HEAVY = (
    "starlette",
    "h11",
    "jinja2",
    "prometheus_client",
    "p2p.web.application",
    "p2p.gateway.application",
    "p2p.net.http_server",
)


def test_what_speaks_http_is_loaded_when_it_is_first_asked_for(tmp_path: Path) -> None:
    program = f"""
        import socket, sys
        from pathlib import Path
        import trio
        from p2p.config import Config, NetworkConfig
        from p2p.control.path import socket_path
        from p2p.control.client import ask
        from p2p.control.protocol import StatusRequest
        from p2p.node import open_node

        home = Path({str(tmp_path / "home")!r})

        def loaded():
            return [name for name in {HEAVY!r} if name in sys.modules]

        async def ignore(event):
            pass

        async def main():
            config = Config(network=NetworkConfig(name="test-idle", listen=("127.0.0.1:0",), lan=False, dht=False))
            async with open_node(home, config, foreground=True):
                await ask(home, StatusRequest(), ignore)
                print(loaded())
                async with await trio.open_unix_socket(socket_path(home)) as stream:
                    await stream.send_all(b"GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
                    print((await stream.receive_some())[:12])
                print(loaded())

        trio.run(main)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.splitlines() == ["[]", "b'HTTP/1.1 404'", repr(list(HEAVY))], ran.stderr
