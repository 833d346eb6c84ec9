"""Supply: where a fetch gets the manifest and the bytes of a share. The swarm is one; `JointFetch` is another."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import trio

from p2p.concurrency.throttle import Throttle
from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import ShareLimits
from p2p.errors import NotFound, ShoalError
from p2p.ids import PeerId, ShareId
from p2p.progress import Progress
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.receiver import Receiver
from p2p.sharing.fetching.selecting import Naming
from p2p.sharing.fetching.sources import Sources
from p2p.sharing.swarm import Swarm
from p2p.store.target import Target
from p2p.wire.link import Link, PeerHint

TICK_INTERVAL_S = 0.1


class Options(msgspec.Struct, frozen=True):
    """The user's options for a fetch.

    `select` are globs on the paths within the share, and empty means everything; `exclude` are patterns, as for
    `Ignore`, of what to leave out of that.
    """

    folder: Path
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sequential: bool = False
    overwrite: bool = False
    wait_s: float | None = None
    limit_bytes_per_s: int = 0
    throttle: Throttle | None = None
    """The limit of this fetch, if it may change while the fetch runs; otherwise it is `limit_bytes_per_s`."""
    keep_serving: bool = False
    limits: ShareLimits | None = None
    """How large the share may be; None: as large as this peer accepts for any share."""
    naming: Naming = "map"
    """What to do with names that the disk cannot hold, or that make programs run what they hold."""
    trust_names: bool = False
    """Whether names stay that make programs run what they hold."""
    private: bool = False
    """Whether the folder is in this peer's home, where names stay as they are, and only this user reads the files."""
    into_existing: bool = False
    """Whether the share may go into a folder that is there already and was not made for it."""
    follows: tuple[PeerId, str] | None = None
    """The pointer (publisher, name) whose newest version the share is: an earlier version is reused and replaced."""


class GaveWay(ShoalError):
    """The fetch has ended because somebody reads a file of the share that it does not get, or because the share is in
    the library now. It goes on jointly."""


class Filled(NamedTuple):
    """The outcome of `Supply.filling`, which puts into place what a target lacks."""

    seconds: float
    """The time from the first request to the last rename."""
    sources: dict[PeerId, int]
    """How many bytes came from each peer, if that is known."""
    swarm: Swarm | None
    """The swarm that can go on serving the share, if there is one."""


class Supply(Protocol):
    """Provides a fetch with the manifest and the bytes of its share."""

    def running(self) -> AbstractAsyncContextManager[trio.Nursery]:
        """To be entered before anything else. The nursery may wrap errors of the body, and StorageErrors of its own.

        Raises ConfigError if the share is being fetched already.
        """

    async def layout(self) -> Layout:
        """Waits for the manifest, and returns its layout. Raises BadData, ShoalError."""

    def filling(self, target: Target) -> AbstractAsyncContextManager[Filled]:
        """Puts what the target lacks into place, then runs the body, during which the swarm that it came from stays.

        Raises StorageError; ShoalError for anything else that keeps the share from being fetched.
        """


class SwarmSupply:
    """Supplies a share from the peers that have all or part of it."""

    def __init__(
        self,
        deps: Deps,
        link: Link,
        hints: Sequence[PeerHint],
        options: Options,
        progress: Progress,
        under_way: dict[ShareId, "SwarmSupply"],
    ) -> None:
        """It is in `under_way` while it is running."""
        self._deps = deps
        self._share = link.share_id
        self._hints = list(hints)
        self._late: list[str] = []
        """Trackers that readers have named."""
        self._options = options
        self.progress = progress
        self._under_way = under_way
        self.scope = trio.CancelScope()
        """The whole fetch, which readers may end: see `give_way`."""
        self.opened, self.ended = trio.Event(), trio.Event()
        """The first is set once `target` and `receiver` are there, or will never be; the second once they are not used
        any more."""
        self.target: Target | None = None
        self.receiver: Receiver | None = None
        self._sources = Sources(deps, link, progress, options.limits)
        self._nursery: trio.Nursery

    @asynccontextmanager
    async def running(self) -> AsyncIterator[trio.Nursery]:
        with self._deps.swarms.fetching(self._share, self.progress):
            self._under_way[self._share] = self
            try:
                await self._sources.start(self._options.folder)
                async with self._sources.running(self._hints) as self._nursery:
                    self._sources.ask(self._late)
                    yield self._nursery
            finally:
                self._end()

    async def layout(self) -> Layout:
        manifests = self._sources.manifests
        await manifests.ready.wait()
        self.progress.state = "reading the list of files"
        return await manifests.layout()

    @asynccontextmanager
    async def filling(self, target: Target) -> AsyncIterator[Filled]:
        options, sources = self._options, self._sources
        receiver = Receiver(
            self._deps,
            target,
            self.progress,
            sources.heard_of,
            sequential=options.sequential,
            throttle=options.throttle or Throttle(options.limit_bytes_per_s),
        )
        started = trio.current_time()
        try:
            with sources.exchanging(self._nursery, target, receiver):
                async with receiver.verifying():
                    self.target, self.receiver = target, receiver
                    self.opened.set()
                    while not receiver.done and receiver.failure is None:
                        receiver.tick()
                        with trio.move_on_after(TICK_INTERVAL_S):
                            await receiver.ended()
                ended = trio.current_time()
                if receiver.failure is not None:
                    raise receiver.failure
                yield Filled(ended - (sources.first_request or started), receiver.from_peers, receiver.swarm)
        finally:
            self._end()  # now: the target is closed next

    # For readers of the share.

    def add(self, hint: PeerHint) -> None:
        """Adds an address where the share may be found."""
        if not self.ended.is_set():
            self._hints.append(hint)
            self._sources.add(hint)

    def ask(self, tracker: str) -> None:
        """Adds a tracker that may know who has the share."""
        self._late.append(tracker)
        self._sources.ask([tracker])

    def give_way(self) -> None:
        """Ends the fetch with GaveWay, unless it is about to end anyway."""
        if self.receiver is None or not self.receiver.done:
            self.scope.cancel()

    def _end(self) -> None:
        self._under_way.pop(self._share, None)
        self.ended.set()
        self.opened.set()
        if self.receiver is not None:
            self.receiver.fail(NotFound("The fetch has ended."))
