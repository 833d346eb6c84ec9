"""Fetching a share, from its link to files in place.

The manifest comes first, then the chunks. A fetch without sources waits for some as long as the user allows, and
reports that it waits. It ends when every selected file is complete and verified, or with an error that says why not.
What it has fetched is kept, and the next try resumes from there.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import trio

from p2p.concurrency.walls import Wall
from p2p.core.shares import names
from p2p.core.shares.layout import Layout
from p2p.core.shares.local_names import Told
from p2p.errors import BadData, NotFound
from p2p.formats import format_short_time, quoted
from p2p.ids import PeerId, ShareId
from p2p.progress import Progress
from p2p.sharing.fetching import reuse
from p2p.sharing.fetching.deps import Deps
from p2p.sharing.fetching.incoming import IncomingSources
from p2p.sharing.fetching.manifests import ManifestFetch
from p2p.sharing.fetching.outgoing import OutgoingSources
from p2p.sharing.fetching.receiver import Receiver
from p2p.sharing.fetching.selecting import Skipped, leave_out_of_reach, select, settle_names
from p2p.sharing.fetching.sources import Sources
from p2p.sharing.fetching.supply import Filled, GaveWay, Options, Supply, SwarmSupply
from p2p.sharing.share import Sharing
from p2p.sharing.swarm import Swarm
from p2p.store.pointers import Pointers, Version
from p2p.store.previous_version import Earlier
from p2p.store.target import Target
from p2p.wire.link import Link, PeerHint

FETCH = Wall("fetch")

IMPATIENCE_INTERVAL_S = 0.1
BUSY_STATES = {"reading the list of files", "checking what is there", "putting files into place"}
"""What a fetch may do for long although it receives nothing."""


class Fetched(msgspec.Struct, frozen=True):
    """The outcome of a fetch. `seconds` is the time from the first request to the last rename."""

    paths: tuple[Path, ...]
    bytes: int
    received: int
    seconds: float
    sources: dict[PeerId, int]
    """How many bytes came from each peer that gave any; empty if a job was fetching the share too."""
    mapped: tuple[tuple[str, Path], ...] = ()
    """The files that are under other names than in the share: their paths there, and on the disk."""
    skipped: tuple[Skipped, ...] = ()
    """The files that the disk cannot hold."""


class Fetching:
    """Fetches shares to folders of the user's choice, for one peer."""

    def __init__(self, deps: Deps, sharing: Sharing, pointers: Pointers, manifests_folder: Path) -> None:
        """Shares of which only the manifest is fetched are recorded with `manifests_folder` as their folder."""
        self._deps = deps
        self._sharing = sharing
        self._pointers = pointers
        self._manifests_folder = manifests_folder
        self.under_way: dict[ShareId, SwarmSupply] = {}
        """The fetches from swarms that are running, for those who read the shares meanwhile."""
        self._manifests: set[ManifestFetch] = set()
        """The fetches of manifests alone."""

    async def fetch(
        self,
        link: Link,
        hints: Sequence[PeerHint],
        options: Options,
        progress: Progress,
        supply: Supply | None = None,
    ) -> Fetched:
        """Fetches a share, from `supply` if it is given, otherwise from the share's swarm.

        Raises NotFound if nothing comes for `wait_s` seconds, StorageError, ConfigError, BadData, GaveWay.
        """
        fetch = _Fetch(self._deps, self._sharing, self._pointers, link, options, progress)
        if supply is not None:
            return await fetch.run(supply)
        swarm = SwarmSupply(self._deps, link, hints, options, progress, self.under_way)
        with swarm.scope:
            return await fetch.run(swarm)
        raise GaveWay

    async def fetch_manifest(self, link: Link, wait_s: float | None) -> None:
        """Fetches the manifest of a share, and nothing else of it.

        Raises NotFound if nobody gives it within `wait_s` seconds, Unacceptable.
        """
        deps = self._deps
        fetching = ManifestFetch(deps.library, deps.disk, link.share_id, deps.library.limits)
        await self._deps.disk.run(deps.records.remember, link.share_id, self._manifests_folder)
        await fetching.start()
        progress = Progress()
        with self._waiting(fetching), FETCH.around(), trio.move_on_after(float("inf") if wait_s is None else wait_s):
            async with trio.open_nursery() as nursery:
                incoming = IncomingSources(
                    deps, link.share_id, fetching.work, lambda peer: False, lambda peer: (0, 0), progress
                )
                outgoing = OutgoingSources(
                    deps, nursery, fetching.work, lambda peer: False, lambda peer: (0, 0), progress, incoming
                )
                for hint in link.peers:
                    outgoing.add(hint)
                if not deps.readers.is_restricted(link.share_id):
                    nursery.start_soon(deps.finders.find, link, outgoing, progress.note)
                await fetching.ready.wait()
                nursery.cancel_scope.cancel()
        if not fetching.ready.is_set():
            raise NotFound(f"Nobody had the input for {wait_s:g} seconds.")
        fetching.check()

    @contextmanager
    def _waiting(self, fetching: ManifestFetch) -> Iterator[None]:
        self._manifests.add(fetching)
        try:
            yield
        finally:
            self._manifests.discard(fetching)

    async def entered(self, share: ShareId) -> None:
        """Ends the fetches of the manifest of a share that is in the library from now on."""
        for fetching in [one for one in self._manifests if one.share == share]:
            with suppress(BadData):  # whoever asked a source for it is told the same
                await fetching.start()

    def sources(self, link: Link, progress: Progress) -> Sources:
        """Makes the sources for a reader of parts of a share."""
        return Sources(self._deps, link, progress)

    def receiver(self, target: Target, progress: Progress, sources: Sources) -> Receiver:
        """Makes a receiver that fetches only the chunks it is asked for, for a reader of parts of a share."""
        return Receiver(self._deps, target, progress, sources.heard_of, growing=True)


class _Fetch:
    """Runs one fetch, step by step."""

    def __init__(
        self, deps: Deps, sharing: Sharing, pointers: Pointers, link: Link, options: Options, progress: Progress
    ) -> None:
        self._deps = deps
        self._sharing = sharing
        self._pointers = pointers
        self._share: ShareId = link.share_id
        self._options = options
        self._progress = progress
        self._earlier: Earlier | None = None
        self._skipped: tuple[Skipped, ...] = ()
        self._name = link.name
        progress.name = link.name or ""
        progress.size = link.size or 0

    async def run(self, supply: Supply) -> Fetched:
        with FETCH.around():
            async with supply.running() as nursery:
                return await self._steps(supply, nursery)

    async def _steps(self, supply: Supply, nursery: trio.Nursery) -> Fetched:
        impatience = _Impatience(self._options.wait_s, self._progress)
        with trio.CancelScope() as scope:
            nursery.start_soon(impatience.watch, scope)
            target = await self._prepare(await supply.layout())
            try:
                with suppress(NotFound):
                    await reuse.from_library(self._deps, self._share, target, self._progress)
                if self._earlier is not None:
                    await reuse.from_earlier(self._deps, self._earlier, target, self._progress)
                async with supply.filling(target) as filled:
                    if (left_out := await self._deps.disk.run(target.make_links)) and not self._options.select:
                        self._progress.note(f"symbolic links that are not made here: {left_out:,}")
                    await self._keep(target, filled.swarm)
                return self._result(target, filled)
            finally:
                target.close()
                target.record.close()
        raise NotFound(
            f"Nobody had it for {format_short_time(self._options.wait_s or 0)}"
            + (f" ({self._progress.trouble})" if self._progress.trouble else "")
            + ". Try again later: what was fetched is kept."
        )

    async def _prepare(self, layout: Layout) -> Target:
        """Lays out the target, selects its entries, and looks at what is on the disk already."""
        progress, options, deps = self._progress, self._options, self._deps
        told = Told(
            names.top_name(self._name or layout.manifest.root.name),
            trusted=options.trust_names,
            into_existing=options.into_existing,
            follows=options.follows[0] + options.follows[1].encode() if options.follows else b"",
        )
        progress.name = told.top
        progress.state = "checking what is there"
        check = trio.from_thread.check_cancelled

        if options.follows is not None:
            self._earlier = await deps.disk.run(
                reuse.find_earlier, deps.library, self._pointers, options.folder, *options.follows
            )

        def open_target() -> Target:
            record = deps.records.begin(self._share, options.folder, layout.chunks)
            with ExitStack() as undo:
                undo.callback(record.close)
                target = Target(
                    layout,
                    options.folder,
                    (),
                    record,
                    overwrite=options.overwrite,
                    earlier=self._earlier,
                    beside=options.follows is not None,
                    told=None if options.private else told,
                )
                undo.callback(target.close)
                if not options.private and not record.have:
                    self._tell_name(target)
                chosen = select(
                    layout.manifest, options.folder, options.select, options.exclude, target.renames, progress.note
                )
                target.choose(chosen)
                self._skipped = settle_names(target, options.naming, progress.note) + leave_out_of_reach(target)
                target.survey(check)
                target.check_space()
                target.make_empty()
                undo.pop_all()
            return target

        target = await deps.disk.run(open_target)
        progress.files = len(target.selected)
        progress.files_done = len(target.placed)
        progress.size = target.layout.bytes_in(target.wanted)
        progress.done = progress.resumed = target.layout.bytes_in(target.wanted & target.record.have)
        return target

    def _tell_name(self, target: Target) -> None:
        """Tells the user the name of the share's file or folder, before it is made, unless the link has said it."""
        own, said, name = target.layout.manifest.root.name, self._name, target.top.name
        if name == said:
            if own != said:
                self._progress.note(f"the share calls itself {quoted(own)}; it is saved as {name}, as the link says")
            return
        follows, earlier = self._options.follows, self._earlier
        if (follows is None or name != follows[1]) and (earlier is None or earlier.top != target.top):
            called = said or own
            why = "; a fetch makes no name that begins with a dot" if called.startswith(".") else ""
            self._progress.note(f"the share is called {quoted(called)}; it is saved as {target.top}{why}")

    async def _keep(self, target: Target, swarm: Swarm | None) -> None:
        """Records what must be known later about the files, which are all in place now."""
        options = self._options
        if options.follows is not None:
            await self._keep_version(target, *options.follows)
        if options.keep_serving:
            await self._sharing.keep_serving(target, swarm)
        await self._deps.disk.run(target.record.forget)

    def _result(self, target: Target, filled: Filled) -> Fetched:
        progress = self._progress
        progress.state = "done"
        entries = target.layout.manifest.entries
        mapped = tuple(("/".join(entries[entry].path), target.path(entry)) for entry in target.differing())
        return Fetched(
            tuple(target.results(len(self._skipped))),
            target.selected_bytes,
            progress.received,
            filled.seconds,
            filled.sources,
            mapped,
            self._skipped,
        )

    async def _keep_version(self, target: Target, publisher: PeerId, name: str) -> None:
        """Records that the folder now has this version, and stops serving the previous one, which it replaced."""
        pointers, library, folder = self._pointers, self._deps.library, self._options.folder

        def keep() -> ShareId | None:
            before = pointers.version(publisher, name, folder)
            pointers.keep_version(publisher, name, folder, Version(self._share, target.stamps(), target.renames))
            if before is None or before.share == self._share:
                return None
            served = library.share(before.share)
            replaced = served is not None and served.fetched and served.paths == (str(target.top),)
            return before.share if replaced else None

        replaced = await self._deps.disk.run(keep)
        if replaced is not None:
            with suppress(NotFound):
                await self._sharing.unshare(replaced)


class _Impatience:
    """Ends a fetch that has received nothing for `wait_s` seconds."""

    def __init__(self, wait_s: float | None, progress: Progress) -> None:
        self._wait_s = wait_s
        self._progress = progress

    async def watch(self, scope: trio.CancelScope) -> None:
        if self._wait_s is None:
            return
        deadline = trio.current_time() + self._wait_s
        before = -1
        while trio.current_time() < deadline:
            progress = self._progress
            busy = progress.state in BUSY_STATES
            if progress.received != before or busy:
                before = progress.received
                deadline = trio.current_time() + self._wait_s
            await trio.sleep(min(IMPATIENCE_INTERVAL_S, self._wait_s))
        scope.cancel()
