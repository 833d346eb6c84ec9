"""What the services of one peer share: its identity, stores, limits, and the swarms it is part of."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import trio

from p2p.concurrency.bell import News
from p2p.concurrency.throttle import Throttle, UploadSlots
from p2p.config import Config
from p2p.core.standing import Standing
from p2p.discovery.dht import Overlays
from p2p.discovery.neighbours import Neighbours
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.progress import Progress
from p2p.reach.contacts import Contacts
from p2p.reach.reachability import Reachability
from p2p.store.journal import Journal
from p2p.store.library import Library
from p2p.store.pointers import Pointers
from p2p.store.records import Records
from p2p.wire.address import Address, is_host

if TYPE_CHECKING:
    from p2p.compute.owner.jobs import Claim, Underway
    from p2p.compute.volunteer.volunteering import Volunteering
    from p2p.discovery.trackers import Trackers
    from p2p.reach.calls import Calls
    from p2p.sandbox.sandbox import Sandbox
    from p2p.sharing.reading.open_shares import Inputs
    from p2p.sharing.swarm import Swarm

Take = Callable[[Connection], Awaitable[None]]
"""Uses a connection that another peer dialled and offers as a source, to its end. Raises PeerError."""


@dataclass
class Local:
    """This peer, as its services see it."""

    home: Path
    config: Config
    dialer: Dialer
    library: Library
    records: Records
    pointers: Pointers
    journal: Journal
    contacts: Contacts
    slots: UploadSlots
    upload: Throttle
    download: Throttle
    standing: Standing[PeerId] = field(default_factory=Standing)
    swarms: "dict[ShareId, Swarm]" = field(default_factory=dict)
    fetching: dict[ShareId, Progress] = field(default_factory=dict)
    wanted: dict[ShareId, Take] = field(default_factory=dict)
    """The shares for which sources may call, also before their manifests are known."""
    reachability: Reachability = field(default_factory=Reachability)
    calls: "Calls" = field(init=False)
    random: Random = field(default_factory=Random)
    disk: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(4))
    """Threads for the disk's sake, shared by all services."""
    addresses: tuple[Address, ...] = ()
    """Where this peer can be reached, as far as it knows."""
    overlays: Overlays | None = None
    """Its nodes in the DHT, unless it goes without."""
    neighbours: Neighbours = field(default_factory=Neighbours)
    """The peers on its local networks."""
    trackers: "Trackers" = field(init=False)
    sandbox: "Sandbox" = field(init=False)
    inputs: "Inputs" = field(init=False)
    """What jobs read, its own and those of others."""
    volunteering: "Volunteering | None" = None
    """What it offers of its cores, unless it offers nothing."""
    jobs: "dict[bytes, Underway]" = field(default_factory=dict)
    """Its own jobs under way, by id."""
    claims: "dict[bytes, Claim]" = field(default_factory=dict)
    """Those of them that are set up, run or ended just now."""
    news: News = field(default_factory=News)
    """Rings when what this peer offers or where it is has changed."""
    started: float = field(default_factory=trio.current_time)
    _commands: int = 0
    _idle: trio.Event = field(default_factory=trio.Event)
    bytes_uploaded: int = 0
    bytes_downloaded: int = 0

    @contextmanager
    def command(self) -> Iterator[None]:
        """A request over the control socket is under way."""
        self._commands += 1
        try:
            yield
        finally:
            self._commands -= 1
            if not self._commands:
                self._idle.set()
                self._idle = trio.Event()

    async def idle(self) -> None:
        """Waits until no request over the control socket is under way."""
        while self._commands:
            await self._idle.wait()

    def clock(self) -> float:
        """Seconds since 1970, as most of the network has it."""
        return self.overlays.now() if self.overlays is not None and self.overlays.nodes else time.time()

    def way_in(self, address: Address) -> None:
        """There is or was a peer at this address, so perhaps a node of the DHT."""
        if self.overlays is not None:
            self.overlays.hint(address)

    def advertised(self) -> tuple[Address, ...]:
        """The addresses of this peer that others may be told; none where it cannot be dialled."""
        return self.reachability.advertised(self.addresses)

    def seen_as(self) -> set[str]:
        """The hosts at which connected peers see this one."""
        exchanges = (exchange for swarm in self.swarms.values() for exchange in swarm.members.values())
        return {exchange.ends.hello.seen_host for exchange in exchanges if is_host(exchange.ends.hello.seen_host)}

    @property
    def peer_id(self) -> PeerId:
        return self.dialer.identity.peer_id
