"""What the services of one peer share: its identity, stores, limits, and the swarms it is part of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import trio

from p2p.config import Config
from p2p.core.standing import Standing
from p2p.ids import PeerId, ShareId
from p2p.net.dialer import Dialer
from p2p.services.contacts import Contacts
from p2p.services.progress import Progress
from p2p.services.throttle import Throttle, UploadSlots
from p2p.store.library import Library
from p2p.store.records import Records
from p2p.wire.address import Address, is_host

if TYPE_CHECKING:
    from p2p.services.swarm import Swarm


@dataclass
class Local:
    """This peer, as its services see it."""

    home: Path
    config: Config
    dialer: Dialer
    library: Library
    records: Records
    contacts: Contacts
    slots: UploadSlots
    upload: Throttle
    download: Throttle
    standing: Standing[PeerId] = field(default_factory=Standing)
    swarms: "dict[ShareId, Swarm]" = field(default_factory=dict)
    fetching: dict[ShareId, Progress] = field(default_factory=dict)
    random: Random = field(default_factory=Random)
    disk: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(4))
    """Threads for the disk's sake, shared by all services."""
    addresses: tuple[Address, ...] = ()
    """Where this peer can be reached, as far as it knows."""
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

    def seen_as(self) -> set[str]:
        """The hosts at which connected peers see this one."""
        exchanges = (exchange for swarm in self.swarms.values() for exchange in swarm.members.values())
        return {exchange.ends.hello.seen_host for exchange in exchanges if is_host(exchange.ends.hello.seen_host)}

    @property
    def peer_id(self) -> PeerId:
        return self.dialer.identity.peer_id
