"""Where a peer listens for browsers and programs of its user. What speaks HTTP is not loaded for that."""

import re
from collections.abc import Sequence

import trio

from p2p import causes
from p2p.config import WebConfig
from p2p.errors import ConfigError
from p2p.wire.address import ip, is_host, parse_address

BACKLOG = 128
_ELSEWHERE = "Choose another --web-listen."
_PORT = re.compile(r":\d+$")


async def open_listeners(config: WebConfig) -> list[trio.SocketListener]:
    """Opens the sockets that listen, if any shall. Raises ConfigError."""
    if not config.listen:
        if config.hosts:
            raise ConfigError("--web-host is for peers that are on the web. Give --web too.")
        return []
    address = parse_address(config.listen, any_port=True)
    for host in config.hosts:
        if _PORT.search(host) or not is_host(host):
            raise ConfigError(f"--web-host {host!r:.100}: this is not a name. Write it without a scheme or a port.")
    known = ip(address.host)
    is_local = known.is_loopback if known is not None else address.host == "localhost"
    if not is_local and not config.hosts:
        raise ConfigError(
            f"Other machines can reach {address}, and what they say can be read on the way. Leave it at 127.0.0.1, and "
            "use `ssh -L`; or put a proxy that speaks TLS in front, and name it with --web-host."
        )
    try:
        return list(await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG))
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {address}: {causes.explained(error, _ELSEWHERE, forbidden=_ELSEWHERE)}"
        ) from error


async def until_asked(listeners: Sequence[trio.SocketListener]) -> None:
    """Waits until somebody connects."""
    async with trio.open_nursery() as nursery:

        async def wait(listener: trio.SocketListener) -> None:
            await trio.lowlevel.wait_readable(listener.socket)
            nursery.cancel_scope.cancel()

        for listener in listeners:
            nursery.start_soon(wait, listener)
