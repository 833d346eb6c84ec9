"""`shoal tracker`: runs a tracker with the options given, until Ctrl-C or SIGTERM."""

import os
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import trio

from p2p import causes, config, descriptors
from p2p.concurrency.ending import ending_signals
from p2p.config import Settings
from p2p.errors import ConfigError, StorageError
from p2p.formats import quoted
from p2p.net.http import check_url
from p2p.wire.address import Address, ip, parse_address
from tracker.proxies import HEADERS, Proxies
from tracker.server import MAX_CONNECTIONS, open_tracker

DEFAULT_PORT = 8750
DATABASE_FILE = "tracker.db"
SPARE_FILES = 256
MIN_CONNECTIONS = 64
"""How many connections there may be however few descriptors this process may have."""
HOME = "tracker"
"""The folder in the home for the tracker's own key."""


async def run(
    home: Path,
    *,
    listen: list[str] | None,
    db: Path | None,
    url: str | None,
    proxy: list[str] | None,
    proxy_header: str,
    proxy_hops: int,
    outside: list[str] | None,
    network: str | None,
) -> int:
    """Runs a tracker until a signal; prints `ready URL` once it answers. Returns the exit code. Raises ShoalError."""
    settings: Settings = {} if network is None else {"network": {"name": network}}
    loaded = config.load(home, os.environ, settings)
    addresses = [parse_address(text, any_port=True) for text in listen or ()]
    path = db or home / DATABASE_FILE
    own = home / HOME
    room = max(descriptors.allow(MAX_CONNECTIONS + SPARE_FILES) - SPARE_FILES, MIN_CONNECTIONS)
    _make(own)
    _make(path.parent)
    with trio.open_signal_receiver(*ending_signals()) as signals:
        async with open_tracker(
            path,
            own,
            addresses or [Address("0.0.0.0", DEFAULT_PORT)],
            # By default, listen on IPv6 too if this machine has it.
            also=() if addresses else [Address("::", DEFAULT_PORT)],
            network=loaded.config.network.name,
            url=None if url is None else check_url(url),
            proxies=_proxies(proxy or (), proxy_header, proxy_hops),
            outside=list(map(_outside, outside or ())),
            most_connections=min(MAX_CONNECTIONS, room),
        ) as running:
            print(f"ready {running.url}", flush=True)
            if sys.stderr.isatty():
                print("This tracker runs until Ctrl-C. Its page is at that address.", file=sys.stderr, flush=True)
            async for _ in signals:
                break
    return 0


def _proxies(addresses: Sequence[str], header: str, hops: int) -> Proxies:
    if header.lower() not in HEADERS:
        raise ConfigError(f"--proxy-header {header}: give {' or '.join(HEADERS)}, whichever your proxy writes.")
    if not addresses and (header.lower() != HEADERS[0] or hops != 1):
        raise ConfigError("--proxy-header and --proxy-hops say what a proxy does: name it with --proxy IP.")
    return Proxies(frozenset(map(_ip, addresses)), header.lower(), hops)


def _outside(text: str) -> str:
    address = ip_address(_ip(text))
    if address.is_unspecified or address.is_loopback or address.is_link_local or address.is_multicast:
        raise ConfigError(f"--outside {address}: nobody elsewhere can reach that. Give the public address.")
    return str(address)


def _ip(text: str) -> str:
    address = ip(text)
    if address is None:
        raise ConfigError(f"{quoted(text)} is not an IP address. Give one like 127.0.0.1 or ::1.")
    return str(address)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{folder} is not a folder. Choose another with --home or --db.") from None
    except OSError as error:
        other = "Choose another --home."
        raise StorageError(
            f"Cannot make the folder {folder}: {causes.explained(error, other, forbidden=other)}"
        ) from error
