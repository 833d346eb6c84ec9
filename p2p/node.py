"""A peer, wired: it opens the stores, starts the services in order, and closes them in the reverse order.

This file only wires. What is decided is in `core`, what is done in `services`.
"""

import errno
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import trio

from p2p import identity as identities
from p2p.advertising.dht_publisher import Publisher
from p2p.advertising.seekers import look_for_wishes
from p2p.compute.owner import fair_share as fairness
from p2p.compute.owner import hiring
from p2p.compute.runtimes import volunteering
from p2p.concurrency.supervision import persist
from p2p.concurrency.throttle import Throttle, UploadSlots
from p2p.config import DEFAULT_PORT, Config
from p2p.control import server as control
from p2p.core.shares.manifest import Limits
from p2p.discovery import dht, neighbours
from p2p.discovery.dht import Overlays
from p2p.discovery.trackers import Trackers
from p2p.errors import ConfigError, ShoalError
from p2p.identity import Identity
from p2p.net import listener
from p2p.net.dialer import Dialer
from p2p.net.interfaces import reachable
from p2p.net.tls import Contexts
from p2p.peer_context import Local
from p2p.reach.calls import Calls
from p2p.reach.contacts import Contacts
from p2p.reach.reachability import Reachability
from p2p.sandbox import compiled
from p2p.sandbox.sandbox import open_sandbox
from p2p.sharing import handlers as serve
from p2p.sharing.reading.open_shares import Inputs
from p2p.store import posix
from p2p.store.database import Database
from p2p.store.journal import Journal
from p2p.store.library import Library
from p2p.store.overlay import OverlayState
from p2p.store.pointers import Pointers
from p2p.store.records import Records
from p2p.wire.address import Address, parse_address
from p2p.wire.nodeid import work_bits

WATCH_NETWORK_EVERY_S = 10.0
OWN_GUESTS = 2
"""Guests for this peer's own jobs, beside those of others."""


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
            bound = [listener.bound_address(one) for one in listeners]
            reachability = Reachability(never=config.network.dialable == "no")
            dialer.port = 0 if reachability.never else bound[0].port
            state = OverlayState(database, config.network.name)
            overlays = None
            if config.network.dht:
                overlays, more = _overlays(identity, config, state, bound)
                notes += more
            local = Local(
                home=home,
                config=config,
                dialer=dialer,
                library=Library(database, _limits(config)),
                records=Records(database, home),
                pointers=Pointers(database),
                journal=Journal(database),
                contacts=Contacts(dialer),
                slots=UploadSlots(config.transfer.upload_slots, config.transfer.slot_quantum_s),
                upload=Throttle(config.transfer.upload_limit_bytes_per_s),
                download=Throttle(config.transfer.download_limit_bytes_per_s),
                addresses=reachable(bound),
                reachability=reachability,
                overlays=overlays,
            )
            local.trackers = Trackers(local, config.network.trackers)
            local.calls = Calls(local)
            local.inputs = Inputs(local, config.volunteer.cache_bytes)
            if config.volunteer.cores:
                local.volunteering = volunteering(local)
            failure: ShoalError | None = None
            async with (
                open_sandbox(config.volunteer.cores + OWN_GUESTS, compiled.default_folder()) as local.sandbox,
                trio.open_nursery() as nursery,
            ):
                network = config.network
                admission = listener.Admission(
                    network.max_connections, network.max_connections_per_prefix, network.max_connections_per_peer
                )
                try:
                    await nursery.start(local.contacts.run)
                    await nursery.start(local.calls.run)
                    await nursery.start(local.inputs.run)
                    await nursery.start(listener.run, listeners, dialer, admission, partial(serve.welcome, local))
                    await nursery.start(control.run, local)
                    if local.volunteering is not None:
                        nursery.start_soon(local.volunteering.run)
                        nursery.start_soon(hiring.look_for_owners, local)
                    if overlays is not None:
                        await nursery.start(overlays.run)
                        nursery.start_soon(persist, Publisher(local, overlays, state).run, local.random)
                        nursery.start_soon(persist, partial(look_for_wishes, local, overlays), local.random)
                    await nursery.start(local.trackers.run)
                    if network.lan:
                        await nursery.start(neighbours.run, local, bound)
                    nursery.start_soon(_watch_network, local, bound)
                    nursery.start_soon(fairness.share_volunteers, local)
                    yield Node(local, tuple(notes))
                except ShoalError as error:
                    failure = error
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            database.close()


def _overlays(
    identity: Identity, config: Config, state: OverlayState, bound: Iterable[Address]
) -> tuple[Overlays, list[str]]:
    """This peer's part in the DHT, and what to say about it."""
    network = config.network
    sockets, notes = dht.open_sockets(bound)
    bits = work_bits(network.name, config.dht.work_bits)
    return Overlays(identity, state, network.name, bits, sockets, network.join, Random()), notes


async def _watch_network(local: Local, bound: list[Address]) -> None:
    """Says so when this machine is in another network: others have to hear of it, and ways in may have changed."""
    while True:
        await trio.sleep(WATCH_NETWORK_EVERY_S)
        now = reachable(bound)
        if now != local.addresses:
            local.addresses = now
            local.reachability.forget()
            local.news.ring()
            if local.overlays is not None:
                local.overlays.rejoin()


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
