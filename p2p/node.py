"""Puts a peer together: opens the stores, makes every part of the peer in order, starts their tasks, and closes
everything in reverse order.

This file does nothing else. No module below it imports it; tests and the command line access a peer through `Node`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
import trio

from p2p import descriptors
from p2p import identity as identities
from p2p.advertising import deps as advertising_deps
from p2p.advertising.dht_publisher import Publisher
from p2p.advertising.seekers import SeekerSearch
from p2p.advertising.tracker_announcer import TrackerAnnouncer
from p2p.cluster import deps as cluster_deps
from p2p.cluster.clusters import Clusters, lendable
from p2p.cluster.lists import Lists
from p2p.compute.owner import deps as owner_deps
from p2p.compute.owner.fair_share import share_volunteers
from p2p.compute.owner.jobs import Jobs
from p2p.compute.volunteer import deps as volunteer_deps
from p2p.compute.volunteer import refusals
from p2p.concurrency.activity import Activity
from p2p.concurrency.bell import Bell
from p2p.concurrency.throttle import Throttle
from p2p.concurrency.walls import Wall
from p2p.config import DEFAULT_PORT, Config, WebConfig
from p2p.control import operations as control_operations
from p2p.control import server as control_server
from p2p.control.background_jobs import BackgroundJobs
from p2p.control.errands import Errands
from p2p.control.getting import Getting
from p2p.control.limits import Limits
from p2p.control.operations import Operations
from p2p.control.packing import Packing
from p2p.control.peers import PeersView
from p2p.control.server import Server
from p2p.control.shares import SharesView
from p2p.control.status import StatusView
from p2p.control.user_fetches import UserFetches
from p2p.core.bans import Bans
from p2p.core.ledger import Ledger
from p2p.core.shares.manifest import ShareLimits
from p2p.discovery import dht, neighbours
from p2p.discovery.dht import Overlays
from p2p.discovery.discovery import Discovery
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.trackers import Trackers
from p2p.errors import ShoalError
from p2p.homes import ENVIRONMENTS
from p2p.identity import Identity
from p2p.ids import PeerId
from p2p.net import listener
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.net.interfaces import reachable
from p2p.net.router import Router
from p2p.net.tls import Contexts
from p2p.reach.calls import Calls
from p2p.reach.contacts import Contacts
from p2p.reach.presence import Presence
from p2p.reach.reachability import Reachability
from p2p.sandbox import compiled
from p2p.sandbox.sandbox import Sandbox, open_sandbox
from p2p.sharing.fetching import deps as fetching_deps
from p2p.sharing.fetching.fetch import Fetching
from p2p.sharing.fetching.leftovers import Leftovers
from p2p.sharing.handlers import ShareHandlers
from p2p.sharing.readers import Readers
from p2p.sharing.reading import deps as reading_deps
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.returning import Returning
from p2p.sharing.share import Sharing
from p2p.sharing.share_calls import ShareCalls
from p2p.sharing.swarms import Swarms
from p2p.sharing.traffic import Traffic
from p2p.sharing.upload_slots import UploadSlots
from p2p.store import posix
from p2p.store.database import Database
from p2p.store.dht_state import OverlayState
from p2p.store.disk import Disk
from p2p.store.fetches import Fetches
from p2p.store.journal import Journal
from p2p.store.kept_fetches import KeptFetches
from p2p.store.library import Library
from p2p.store.pointers import Pointers
from p2p.web import deps as web_deps
from p2p.web.door import Door
from p2p.wire import messages
from p2p.wire.address import Address
from p2p.wire.nodeid import work_bits

if TYPE_CHECKING:
    from p2p.compute.volunteer.owner_search import OwnerSearch
    from p2p.compute.volunteer.volunteering import Volunteering
    from p2p.control.access.web_access import WebAccess
    from p2p.environments.environments import Environments

UPKEEP = Wall("periodic task of the peer")

WATCH_NETWORK_INTERVAL_S = 10.0
JOBS, RESULTS, VOLUNTEER, MANIFESTS = "jobs", "results", "volunteer", "manifests"
"""Folders in a home."""


class Node(msgspec.Struct, frozen=True):
    """A running peer and its parts. `notes` tell its user what is worth knowing about its start."""

    home: Path
    config: Config
    dialer: Dialer
    library: Library
    records: Fetches
    pointers: Pointers
    journal: Journal
    disk: Disk
    random: Random
    changes: Bell
    bans: Bans[PeerId]
    presence: Presence
    discovery: Discovery
    router: Router
    swarms: Swarms
    readers: Readers
    traffic: Traffic
    sharing: Sharing
    fetching: Fetching
    open_shares: OpenShares
    sandbox: Sandbox
    volunteering: "Volunteering | None"
    calls: Calls
    jobs: Jobs
    background: BackgroundJobs
    fetches: UserFetches
    clusters: Clusters
    announcer: TrackerAnnouncer
    publisher: Publisher
    seeker_search: SeekerSearch
    owner_search: "OwnerSearch | None"
    environments: Callable[[], "Environments"]
    """Packed and fetched environments, made when they are first asked for."""
    operations: Operations
    activity: Activity
    access: "WebAccess | None"
    door: Door
    server: Server
    notes: tuple[str, ...]

    @property
    def peer_id(self) -> PeerId:
        return self.presence.peer_id

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses at which this peer can be reached, as far as it knows."""
        return self.presence.addresses


@asynccontextmanager
async def open_node(home: Path, config: Config, *, foreground: bool) -> AsyncIterator[Node]:
    """Runs a peer in `home`, an absolute path, while the body runs.

    `foreground` means that the peer runs for one command, on a free port unless one is configured, and not on the web.

    Raises HomeInUse if another peer is using the home; StorageError, IdentityError, ConfigError. The body's ShoalErrors
    are raised as they are.
    """
    with posix.lock_home(home, (JOBS, RESULTS, VOLUNTEER)):
        identity = identities.load_or_create(home)
        database = Database(home)
        try:
            port = 0 if foreground else DEFAULT_PORT
            listeners, notes = await listener.listen(config.network.listen, port)
            bound = [listener.bound_address(one) for one in listeners]
            state = OverlayState(database, config.network.name)
            disk = Disk()
            overlays, more = _overlays(identity, config, state, disk, bound)
            failure: ShoalError | None = None
            async with (
                open_sandbox(
                    config.volunteer.cores, compiled.default_folder(), idle=config.volunteer.priority == "idle"
                ) as sandbox,
                trio.open_nursery() as nursery,
            ):
                try:
                    Library(database, _limits(config)).end_passing()
                    web, access = ([], None) if foreground else await _web(home, config)
                    node = _make(
                        home,
                        config,
                        identity,
                        database,
                        disk,
                        bound,
                        state,
                        overlays,
                        sandbox,
                        (*notes, *more),
                        access,
                        foreground=foreground,
                    )
                    await _start(node, nursery, listeners, bound, web)
                    yield node
                except ShoalError as error:
                    failure = error
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            database.close()


def _make(
    home: Path,
    config: Config,
    identity: Identity,
    database: Database,
    disk: Disk,
    bound: list[Address],
    state: OverlayState,
    overlays: Overlays,
    sandbox: Sandbox,
    notes: tuple[str, ...],
    access: "WebAccess | None",
    *,
    foreground: bool,
) -> Node:
    """Makes all parts of the peer, each from those made before it."""
    network, transfer, offered = config.network, config.transfer, config.volunteer
    library, records = Library(database, _limits(config)), Fetches(database, home)
    pointers, journal = Pointers(database, network.name), Journal(database)
    random, changes, bans = Random(), Bell(), Bans[PeerId]()

    # Where this peer is, and what others offer.
    reachability = Reachability(never=network.dialable == "no")
    port = 0 if reachability.never else bound[0].port
    dialer = Dialer(identity, Contexts(identity, home, network.name), network.name, port)
    presence = Presence(dialer, Contacts(dialer), reachability, reachable(bound))
    trackers = Trackers(network.trackers, network.name)
    discovery = Discovery(dialer, presence, pointers, disk, trackers, overlays, Neighbours(), random)

    # Shares.
    router = Router()
    swarms = Swarms(library, disk, changes)
    readers = Readers(library, swarms)
    upload = Throttle(transfer.upload_limit_bytes_per_s)
    traffic = Traffic(
        slots=UploadSlots(transfer.upload_slots, transfer.slot_quantum_s, upload),
        upload=upload,
        download=Throttle(transfer.download_limit_bytes_per_s),
    )
    ShareHandlers(library, pointers, disk, presence.contacts, swarms, readers, traffic, router)
    sharing = Sharing(library, swarms, disk, changes)
    fetching = Fetching(
        fetching_deps.Deps(
            library=library,
            records=records,
            disk=disk,
            presence=presence,
            finders=discovery.finders,
            router=router,
            swarms=swarms,
            readers=readers,
            traffic=traffic,
            bans=bans,
            random=random,
            max_sources=transfer.max_sources,
        ),
        sharing,
        pointers,
        home / MANIFESTS,
    )
    open_shares = OpenShares(
        reading_deps.Deps(library, records, disk, swarms, sharing, fetching),
        home / VOLUNTEER / "inputs",  # where earlier versions kept them
        offered.cache_bytes,
    )
    sharing.tell(fetching.entered)
    sharing.tell(open_shares.entered)

    # Work for others, and the reasons why this peer calls others.
    ledger = Ledger(lendable(config))
    volunteering_deps = volunteer_deps.Deps(dialer, presence, records, disk, swarms, open_shares, sandbox, changes)
    volunteering, work_calls = None, None
    if offered.cores:
        # Most peers never run the jobs of others, and start sooner without what does.
        from p2p.compute.runtimes import all_runtimes
        from p2p.compute.volunteer.owner_search import OwnerSearch, WorkCalls
        from p2p.compute.volunteer.volunteering import Volunteering

        volunteering = Volunteering(
            volunteering_deps,
            home / VOLUNTEER,
            all_runtimes(),
            offered,
            ledger,
        )
        work_calls = WorkCalls(volunteering_deps, volunteering)
    router.add(openings=refusals.openings() if volunteering is None else volunteering.openings())
    share_calls = ShareCalls(presence.contacts, library, disk, swarms, readers, router)
    calls = Calls(presence, bans, random, [share_calls] if work_calls is None else [work_calls, share_calls])
    router.add(requests={messages.DialMe: calls.dial_me})
    jobs = Jobs(
        owner_deps.Deps(
            dialer=dialer,
            presence=presence,
            discovery=discovery,
            calls=calls,
            library=library,
            journal=journal,
            disk=disk,
            guests=owner_deps.OwnGuests(sandbox, config.jobs.memory_bytes),
            sharing=sharing,
            fetching=fetching,
            open_shares=open_shares,
            changes=changes,
        ),
        home / JOBS,
        home / RESULTS,
    )
    router.add(openings=jobs.openings())

    # What is announced to others.
    advertising = advertising_deps.Deps(
        dialer=dialer,
        presence=presence,
        overlays=overlays,
        library=library,
        disk=disk,
        swarms=swarms,
        calls=calls,
        random=random,
        changes=changes,
        adverts=[jobs.advert] if work_calls is None else [jobs.advert, work_calls.advert],
    )
    announcer = TrackerAnnouncer(advertising, trackers)
    publisher = Publisher(advertising, discovery.mutable_links, state)

    # Environments, and clusters, of its user's and of others.
    @cache
    def environments() -> "Environments":
        # Most peers never have any.
        from p2p.environments.environments import Environments
        from p2p.environments.packs import Packs

        packs = Packs(home / ENVIRONMENTS / "packed", sharing, disk)
        folder = home / ENVIRONMENTS / "fetched"
        return Environments(packs, folder, library, disk, readers, sharing, swarms, fetching)

    clusters = Clusters(
        cluster_deps.Deps(
            home=home,
            config=config.cluster,
            presence=presence,
            discovery=discovery,
            disk=disk,
            traffic=traffic,
            environments=environments,
            lists=Lists(config.cluster.allow, config.cluster.trust),
            changed=changes.ring,
            left=readers.review,
            idle=offered.priority == "idle",
        ),
        ledger,
        of_node=not foreground,
    )
    router.add(openings=clusters.openings())
    readers.allows = clusters.may_read

    # What the user may request.
    passing = (home / JOBS, open_shares.folder)
    shares = SharesView(presence.peer_id, library, disk, pointers, swarms, discovery.links, passing, publisher)
    getting = Getting(discovery, open_shares)
    leftovers = Leftovers(library, records, sharing, disk)
    kept = KeptFetches(database)
    background = BackgroundJobs(jobs, journal, disk, of_node=not foreground)
    fetches = UserFetches(kept, disk, getting.get, open_shares.ask_too, leftovers, changes, of_node=not foreground)
    operations = Operations(
        control_operations.Deps(
            discovery=discovery,
            sharing=sharing,
            open_shares=open_shares,
            packing=Packing(environments, discovery.links),
            errands=Errands(fetches, jobs, background),
            limits=Limits(home, traffic, fetches, disk),
            volunteering=volunteering,
            clusters=clusters,
            shares=shares,
            peers=PeersView(presence.contacts, swarms, jobs, volunteering),
            status=StatusView(
                home,
                network.name,
                presence,
                shares,
                swarms,
                traffic,
                overlays,
                discovery.neighbours,
                announcer,
                publisher,
                jobs,
            ),
            changes=changes,
        ),
        access,
        times_at_first=config.sharing.times,
    )
    activity = Activity()
    perform = partial(operations.perform, keep_serving=True)
    door = Door(
        web_deps.Deps(
            peer_id=presence.peer_id,
            perform=perform,
            open_shares=open_shares,
            discovery=discovery,
            shares=shares,
            jobs=jobs,
            swarms=swarms,
            traffic=traffic,
            changes=changes,
            activity=activity,
            access=access,
        )
    )
    return Node(
        home=home,
        config=config,
        dialer=dialer,
        library=library,
        records=records,
        pointers=pointers,
        journal=journal,
        disk=disk,
        random=random,
        changes=changes,
        bans=bans,
        presence=presence,
        discovery=discovery,
        router=router,
        swarms=swarms,
        readers=readers,
        traffic=traffic,
        sharing=sharing,
        fetching=fetching,
        open_shares=open_shares,
        sandbox=sandbox,
        volunteering=volunteering,
        calls=calls,
        jobs=jobs,
        background=background,
        fetches=fetches,
        clusters=clusters,
        announcer=announcer,
        publisher=publisher,
        seeker_search=SeekerSearch(advertising),
        owner_search=(
            None if work_calls is None else OwnerSearch(volunteering_deps, work_calls, calls, discovery, random)
        ),
        environments=environments,
        operations=operations,
        activity=activity,
        access=access,
        door=door,
        server=Server(home, perform, door.speak, activity),
        notes=notes,
    )


async def _web(home: Path, config: Config) -> "tuple[list[trio.SocketListener], WebAccess | None]":
    """Opens the way in over TCP, if its user wants one. Raises ConfigError, StorageError."""
    if config.web == WebConfig():
        return [], None
    from p2p.control.access.web_access import WebAccess
    from p2p.web.listening import open_listeners

    listeners = await open_listeners(config.web)
    try:
        return listeners, WebAccess(home, listener.bound_address(listeners[0]), config.web.hosts)
    except ShoalError:
        for one in listeners:
            one.socket.close()
        raise


async def _start(
    node: Node,
    nursery: trio.Nursery,
    listeners: list[trio.SocketListener],
    bound: list[Address],
    web: list[trio.SocketListener],
) -> None:
    """Starts the tasks of a peer, beginning with those on which others depend."""
    network, presence, overlays = node.config.network, node.presence, node.discovery.overlays
    wanted = network.max_connections + listener.MAX_UNPROVEN + descriptors.SPARE
    wanted += web_deps.MAX_CONNECTIONS if web else 0
    allowed = descriptors.allow(wanted + control_server.MAX_CLIENTS)
    admission = listener.Admission.of(network, min(wanted, allowed))

    async def welcome(connection: Connection) -> None:
        """Serves one connection that another peer dialled, until it ends. Raises PeerError."""
        presence.reachability.dialled_from(connection.ends.remote_host)
        await node.router.converse(connection)

    def keep(task: Callable[[], Awaitable[None]]) -> None:
        nursery.start_soon(UPKEEP.keep, task, node.random)

    await nursery.start(presence.contacts.run)
    await nursery.start(node.calls.run)
    await nursery.start(node.open_shares.run)
    await nursery.start(listener.run, listeners, node.dialer, admission, welcome)
    await nursery.start(node.fetches.run)
    await nursery.start(node.background.run)
    await nursery.start(node.clusters.run)
    await nursery.start(node.door.run, web)
    await nursery.start(node.server.run, min(control_server.MAX_CLIENTS, allowed - wanted))
    if node.volunteering is not None:
        keep(node.volunteering.run)
    if node.owner_search is not None:
        keep(node.owner_search.run)
    if overlays.is_on:
        await nursery.start(overlays.run)
        keep(node.publisher.run)
        keep(node.seeker_search.run)
    await nursery.start(node.announcer.run)
    if network.lan:
        near = node.discovery.neighbours
        await nursery.start(neighbours.run, near, node.dialer, presence, overlays, node.random, bound)
    keep(partial(_watch_network, node, bound))
    keep(partial(share_volunteers, node.jobs.runs))
    keep(Returning(node.library, node.swarms, node.disk, node.changes).run)


async def _watch_network(node: Node, bound: list[Address]) -> None:
    """Announces that this machine has moved to another network, and joins the DHT again, as its entry points may have
    changed.
    """
    while True:
        await trio.sleep(WATCH_NETWORK_INTERVAL_S)
        now = reachable(bound)
        if now != node.presence.addresses:
            node.presence.moved(now)
            node.changes.ring()
            node.discovery.overlays.rejoin()


def _overlays(
    identity: Identity, config: Config, state: OverlayState, disk: Disk, bound: Iterable[Address]
) -> tuple[Overlays, list[str]]:
    """Makes this peer's part in the DHT. Also returns notes about it for the user."""
    network = config.network
    sockets, notes = dht.open_sockets(bound) if network.dht else (None, [])
    bits = work_bits(network.name, config.dht.work_bits)
    return Overlays(
        identity, state, disk, network.name, bits, sockets, network.join if network.dht else (), Random()
    ), notes


def _limits(config: Config) -> ShareLimits:
    limits = config.limits
    return ShareLimits(entries=limits.entries, length=limits.manifest_bytes, size=limits.share_bytes)
