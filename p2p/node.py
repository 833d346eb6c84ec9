"""A peer, wired: it opens the stores, starts the services in order, and closes them in the reverse order.

This file only wires. What is decided is in `core`, what is done in `services`.
"""

import errno
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from p2p import identity as identities
from p2p.config import DEFAULT_PORT, Config
from p2p.core.manifest import Limits
from p2p.errors import ConfigError, ShoalError
from p2p.net import listener
from p2p.net.dialer import Dialer
from p2p.net.tls import Contexts
from p2p.services import control, serve
from p2p.services.contacts import Contacts
from p2p.services.local import Local
from p2p.services.throttle import Throttle, UploadSlots
from p2p.store import posix
from p2p.store.database import Database
from p2p.store.library import Library
from p2p.store.records import Records
from p2p.wire.address import Address, ip, parse_address


@dataclass(frozen=True)
class Node:
    """A running peer."""

    local: Local
    notes: tuple[str, ...]
    """What its user should know about how it started."""


@asynccontextmanager
async def open_node(home: Path, config: Config, *, foreground: bool) -> AsyncIterator[Node]:
    """Runs a peer in `home`, an absolute path, while the body runs.

    `foreground`: for one command, on a free port unless one is configured.
    Raises StorageError where another peer has the home, IdentityError, ConfigError. The body's ShoalErrors come out
    as they are.
    """
    with posix.lock_home(home):
        identity = identities.load_or_create(home)
        database = Database(home)
        try:
            listeners, notes = await _listen(config, foreground=foreground)
            dialer = Dialer(identity, Contexts(identity, home, config.network.name), config.network.name)
            dialer.port = listener.bound_address(listeners[0]).port
            local = Local(
                home=home,
                config=config,
                dialer=dialer,
                library=Library(database, _limits(config)),
                records=Records(database, home),
                contacts=Contacts(dialer),
                slots=UploadSlots(config.transfer.upload_slots, config.transfer.slot_quantum_s),
                upload=Throttle(config.transfer.upload_limit_bytes_per_s),
                download=Throttle(config.transfer.download_limit_bytes_per_s),
                addresses=tuple(_reachable(map(listener.bound_address, listeners))),
            )
            failure: ShoalError | None = None
            async with trio.open_nursery() as nursery:
                network = config.network
                admission = listener.Admission(
                    network.max_connections, network.max_connections_per_prefix, network.max_connections_per_peer
                )
                try:
                    await nursery.start(local.contacts.run)
                    await nursery.start(listener.run, listeners, dialer, admission, partial(serve.welcome, local))
                    await nursery.start(control.run, local)
                    yield Node(local, tuple(notes))
                except ShoalError as error:
                    failure = error
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            database.close()


def _limits(config: Config) -> Limits:
    limits = config.limits
    return Limits(entries=limits.entries, length=limits.manifest_bytes, size=limits.share_bytes)


async def _listen(config: Config, *, foreground: bool) -> tuple[list[trio.SocketListener], list[str]]:
    """The listening sockets, and what to say about them."""
    if config.network.listen:
        try:
            addresses = [parse_address(text, any_port=True) for text in config.network.listen]
        except ConfigError as error:
            raise ConfigError(f"network.listen: {error}") from error
        return await listener.open_listeners(addresses), []
    notes = []
    try:
        opened = await listener.open_listeners([Address("0.0.0.0", 0 if foreground else DEFAULT_PORT)])
    except ConfigError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EADDRINUSE:
            raise
        opened = await listener.open_listeners([Address("0.0.0.0", 0)])
        port = listener.bound_address(opened[0]).port
        notes.append(f"port {DEFAULT_PORT} is taken, listening on {port} instead")
    with suppress(ConfigError):  # a machine without IPv6, or with the port taken there
        opened += await listener.open_listeners([Address("::", listener.bound_address(opened[0]).port)])
    return opened, notes


def _reachable(bound: Iterable[Address]) -> Iterator[Address]:
    """Where others may reach these sockets: a wildcard address stands for the one this machine goes out with."""
    for address in bound:
        parsed = ip(address.host)
        if parsed is None or not parsed.is_unspecified:
            yield address
            continue
        family, outside = (socket.AF_INET, "192.0.2.1") if parsed.version == 4 else (socket.AF_INET6, "2001:db8::1")
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))  # sends nothing, only asks the routing table
            yield Address(probe.getsockname()[0], address.port)
            continue
        if parsed.version == 4:
            yield Address("127.0.0.1", address.port)
