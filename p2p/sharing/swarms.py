"""The swarms of one peer, and the shares being fetched: how they are added, removed and waited for."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from p2p.concurrency.bell import Bell
from p2p.errors import ConfigError, NotFound
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.progress import Progress
from p2p.sharing.loading import Loading
from p2p.sharing.swarm import Party, Swarm
from p2p.store.disk import Disk
from p2p.store.library import Library, SharedFiles
from p2p.wire.address import is_host

ALREADY = "This peer is fetching that share already; `shoal status` shows how far it is."

Take = Callable[[Connection], Awaitable[None]]
"""Uses a connection over which the peer that dialled offers a share, until the connection ends. Raises PeerError."""


class Swarms:
    """Holds one swarm for each share being exchanged. `changes` rings when a fetch begins, gets its swarm, or ends."""

    def __init__(self, library: Library, disk: Disk, changes: Bell) -> None:
        self._library = library
        self._disk = disk
        self._changes = changes
        self._swarms: dict[ShareId, Swarm] = {}
        self._fetches: dict[ShareId, Progress] = {}
        self._takers: dict[ShareId, Take] = {}
        self._loading = Loading(library, disk, self.drop)
        self._under_way: dict[ShareId, trio.Event] = {}

    def __iter__(self) -> Iterator[Swarm]:
        return iter(list(self._swarms.values()))

    def __len__(self) -> int:
        return len(self._swarms)

    def get(self, share: ShareId) -> Swarm | None:
        """The swarm of a share, or None if the share is not being exchanged or fetched."""
        return self._swarms.get(share)

    def is_exchanging(self, share: ShareId, peer: PeerId) -> bool:
        """Whether the share is being exchanged with that peer."""
        swarm = self._swarms.get(share)
        return swarm is not None and peer in swarm.members

    def party(self, peer: PeerId) -> Party | None:
        """An exchange of any share with that peer, or None."""
        return next((swarm.members[peer] for swarm in self._swarms.values() if peer in swarm.members), None)

    @property
    def connections(self) -> int:
        """How many exchanges there are."""
        return sum(len(swarm.members) for swarm in self._swarms.values())

    def seen_as(self) -> set[str]:
        """The hosts at which connected peers see this one."""
        hosts = {member.ends.hello.seen_host for swarm in self._swarms.values() for member in swarm.members.values()}
        return {host for host in hosts if is_host(host)}

    # Serving.

    async def serve(self, share: ShareId, host: str) -> Swarm | None:
        """The swarm of a share that this peer holds or is fetching; None if it does neither.

        `host` is where the peer is that asks. The share is loaded once for all who ask at the same time. Raises Refused
        if the peer should ask again later.
        """
        while (swarm := self._swarms.get(share)) is None:
            if (other := self._under_way.get(share)) is not None:
                await other.wait()
                continue
            done = self._under_way[share] = trio.Event()
            try:
                holding = await self._loading.load(share, host, self._served)
                # A fetch may have made the swarm while the thread ran.
                return self._swarms.setdefault(share, Swarm(share, holding))
            except NotFound:
                return None
            finally:
                del self._under_way[share]
                done.set()
        return swarm

    def _served(self) -> list[Swarm]:
        return [swarm for swarm in self._swarms.values() if swarm.sink is None]

    def release(self, swarm: Swarm | None) -> None:
        """To be called when an exchange has ended: forgets its swarm if nobody is left in it."""
        if swarm is None or swarm.members or swarm.sink is not None:
            return
        if self._swarms.get(swarm.share_id) is swarm:
            del self._swarms[swarm.share_id]

    def drop(self, share: ShareId, why: str) -> None:
        """Ends the exchanges of a share that is no longer served, unless it is being fetched."""
        swarm = self._swarms.get(share)
        if swarm is not None and swarm.sink is None:
            del self._swarms[share]
            swarm.disband(why)

    async def refresh(self, share: ShareId) -> None:
        """Makes running exchanges serve from the files as they are now."""
        swarm = self._swarms.get(share)
        if swarm is not None and swarm.sink is None:
            before = swarm.holding.held
            holding = await self._disk.run(SharedFiles, self._library, share)
            swarm.holding = holding
            swarm.gained(holding.held & ~before)

    # Fetching.

    @contextmanager
    def fetching(self, share: ShareId, progress: Progress) -> Iterator[None]:
        """Marks the share as being fetched while the body runs. Raises ConfigError if it is being fetched already."""
        if share in self._fetches:
            raise ConfigError(ALREADY)
        self._fetches[share] = progress
        self._changes.ring()
        try:
            yield
        finally:
            del self._fetches[share]
            self._changes.ring()

    @property
    def fetches(self) -> list[tuple[ShareId, Progress]]:
        """The shares that are being fetched, and the progress of each."""
        return list(self._fetches.items())

    def progress_of(self, share: ShareId) -> Progress | None:
        """The progress of the fetch of a share, or None if it is not being fetched."""
        return self._fetches.get(share)

    async def until_free(self, share: ShareId) -> None:
        """Waits until nobody here is fetching the share."""
        while share in self._fetches:
            await self._changes.after(self._changes.count)

    @contextmanager
    def wanted(self, share: ShareId, take: Take) -> Iterator[None]:
        """Lets sources call this peer about the share while the body runs, even before its manifest is known."""
        self._takers[share] = take
        self._changes.ring()
        try:
            yield
        finally:
            del self._takers[share]

    def taker(self, share: ShareId) -> Take | None:
        """What uses a connection over which the share is offered; None if no fetch wants the share."""
        return self._takers.get(share)

    @contextmanager
    def exchanging(self, swarm: Swarm) -> Iterator[None]:
        """Makes this the swarm of its share while the body runs, and then ends it, unless it is kept for serving."""
        share, standing = swarm.share_id, self._swarms.get(swarm.share_id)
        self._swarms[share] = swarm
        if standing is not None:
            standing.disband("the share is being fetched again")
        self._changes.ring()
        try:
            yield
        finally:
            if self._swarms.get(share) is swarm and swarm.sink is not None:
                del self._swarms[share]
                swarm.disband("this peer has stopped fetching")
