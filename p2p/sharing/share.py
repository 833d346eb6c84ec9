"""Sharing: makes a share in the library, and a link to it, from paths. The files are hashed in place, on all cores."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import trio

from p2p import homes
from p2p.concurrency.bell import Bell
from p2p.core.shares import manifest as manifests
from p2p.core.shares import names
from p2p.core.shares.manifest import ManifestRoot
from p2p.errors import BadData, ConfigError, NotFound
from p2p.formats import quoted, shortened
from p2p.ids import ShareId
from p2p.paths import exists
from p2p.progress import Progress
from p2p.sharing.swarm import Swarm
from p2p.sharing.swarms import Swarms
from p2p.store.disk import Disk
from p2p.store.indexing import Indexer, Known
from p2p.store.library import Library, SharedFiles
from p2p.store.target import Target

SAMPLE_INTERVAL_S = 0.1
MAX_ROUNDS = 3

Entered = Callable[[ShareId], Awaitable[None]]
"""Is told of each share that enters the library."""


class Shared(msgspec.Struct, frozen=True):
    """A newly made share; sizes are in bytes."""

    share_id: ShareId
    name: str
    bytes: int
    files: int
    reused: int
    """How many bytes were not read again, since their files had not changed."""
    seconds: float
    warnings: tuple[str, ...]
    left_out: int
    """How many files and folders were left out because a pattern says so."""
    kept_exclude: tuple[str, ...]
    """The patterns that were taken over from an earlier share of the same paths."""
    skipped: tuple[tuple[str, str], ...]
    """The first of the files that cannot be shared, and why."""
    skipped_count: int
    single: bool
    lasts: bool


class Sharing:
    """Makes and ends shares for this peer's user, or for its own jobs."""

    def __init__(self, library: Library, swarms: Swarms, disk: Disk, changes: Bell) -> None:
        self._library = library
        self._swarms = swarms
        self._disk = disk
        self._changes = changes
        self._entered: list[Entered] = []

    def tell(self, entered: Entered) -> None:
        """From now on, tells this of each share, or part of one, that enters the library."""
        self._entered.append(entered)

    async def _tell(self, share_id: ShareId) -> None:
        self._changes.ring()
        for entered in self._entered:
            await entered(share_id)

    async def share(
        self,
        paths: Sequence[Path],
        name: str | None,
        progress: Progress,
        *,
        unlisted: bool,
        exclude: Sequence[str] | None = None,
        rehash: bool = False,
        need_all: bool = False,
        lasts: bool = True,
        times: bool | None = None,
        times_at_first: bool = False,
        sure: bool = False,
        own: bool = False,
        restricted: bool = False,
        links: bool | None = None,
    ) -> Shared:
        """Indexes files and folders as one share, which replaces an earlier one of the same paths.

        A single file gets the share's name. `exclude` are patterns of what to leave out, as for `Ignore`; None: those
        of the earlier one. Files that have not changed since are not read, unless `rehash`. Files that keep changing
        are skipped, unless `need_all`. Unless the share `lasts`, or an earlier one of the same paths does, it ends with
        this peer. `times`: whether the share has the files' modification times; None: as the earlier one; if there is
        none, `times_at_first`. `sure`: whether the user has said that paths which probably hold secrets are meant.
        `own`: for what this peer itself has made, in its home. `restricted`: whether only those may read it whom
        `Readers` allows to. `links`: whether symbolic links are kept that lead to something in the same share, which
        only peers that know links can fetch; None: as in the earlier one.

        Raises ConfigError for paths and names that cannot or must not be shared; StorageError for files that keep
        changing, with `need_all`.
        """
        if not own:
            for path in paths:
                await self._disk.run(homes.refuse, path, sure)
        started = trio.current_time()
        for path in paths:
            if not await self._disk.run(exists, path):
                raise ConfigError(f"{shortened(str(path))} does not exist.")
        name = paths[0].name if name is None else name
        if reason := names.refusal(name):
            raise ConfigError(f"The share's name {quoted(name)} {reason}. Give it another with --name.")
        progress.name = name
        progress.state = "listing files"
        previous = await self._disk.run(self._library.find_by_paths, paths)
        known = {} if rehash else await self._disk.run(self._known, previous, paths)
        before = None if previous is None else await self._disk.run(self._library.share, previous)
        lasts = lasts or (before is not None and before.lasts)
        kept: tuple[str, ...] = ()
        if exclude is None:
            if previous is not None:
                kept = await self._disk.run(self._library.exclude, previous)
            exclude = kept
        had = await self._disk.run(self._root_of, previous)
        if times is None:
            times = times_at_first if had is None else had.has_times
        if links is None:
            links = had is not None and bool(had.links)
        indexer = Indexer(paths, known, exclude, times=times, links=links, homes_too=own)
        check = trio.from_thread.check_cancelled
        await self._disk.run(indexer.walk, check)
        progress.state = "hashing"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_sample, indexer, progress)
            for _ in range(MAX_ROUNDS):
                await _hash(indexer)
                if not indexer.retry():
                    break
            nursery.cancel_scope.cancel()
        _look(indexer, progress)
        progress.state = "writing the manifest"

        def finish() -> tuple[ShareId, int, int]:
            entries, stamps = indexer.finish(need_all=need_all)
            if not entries:
                raise ConfigError(_nothing_to_share(paths[0], indexer))
            if indexer.single:
                entries = [msgspec.structs.replace(entries[0], path=(name,))]
            root_body, parts = manifests.encode(name, entries, single=indexer.single, links=indexer.links(entries))
            share_id = manifests.share_id_of(root_body)
            if restricted:
                self._library.restrict(share_id)
            self._library.add(
                share_id,
                root_body,
                parts,
                paths,
                stamps,
                unlisted=unlisted or restricted,
                fetched=False,
                exclude=exclude,
                lasts=lasts,
            )
            return share_id, sum(entry.size for entry in entries), sum(entry.is_file for entry in entries)

        share_id, size, files = await self._disk.run(finish)
        await self._swarms.refresh(share_id)
        await self._tell(share_id)
        if previous is not None and previous != share_id:
            self._swarms.drop(previous, "the share was replaced by a newer one")
        return Shared(
            share_id,
            name,
            size,
            files,
            indexer.bytes_reused,
            trio.current_time() - started,
            tuple(indexer.warnings) + ((f"{indexer.skipped} skipped in all",) if indexer.skipped > 1 else ()),
            indexer.left_out,
            kept,
            tuple(indexer.skipped_files),
            indexer.skipped,
            indexer.single,
            lasts,
        )

    async def unshare(self, share_id: ShareId) -> None:
        """Ends a share; its files stay. Raises NotFound."""
        await self._disk.run(self._library.remove, share_id)
        self._swarms.drop(share_id, "not found")
        self._changes.ring()

    async def keep_serving(self, target: Target, swarm: Swarm | None) -> None:
        """Adds a share that was fetched to the library, its files in place. Its swarm continues to serve it."""
        share_id = target.layout.manifest.share_id

        def add() -> SharedFiles:
            root = self._library.root(share_id)
            assert root is not None
            shared = self._library.share(share_id)
            # A part of it, fetched elsewhere, is not served in place of more.
            more = 0
            if shared is not None and not shared.stale:
                more = SharedFiles(self._library, share_id).held & ~target.layout.chunks_of(target.placed)
            if shared is None or shared.stale or (shared.fetched and not more):
                # The share is not listed, since this peer does not know whether its publisher wants that.
                self._library.add(
                    share_id,
                    root,
                    [],
                    [target.top],
                    target.stamps(),
                    unlisted=True,
                    fetched=True,
                    names=target.renames,
                )
            return SharedFiles(self._library, share_id)

        files = await self._disk.run(add)
        if swarm is not None:
            swarm.holding, swarm.sink = files, None
        await self._tell(share_id)

    def _root_of(self, share: ShareId | None) -> ManifestRoot | None:
        """The root of an earlier share, or None if there is none that can be read."""
        body = None if share is None else self._library.root(share)
        if share is None or body is None:
            return None
        try:
            return manifests.decode_root(share, body, self._library.limits)
        except BadData:
            return None

    def _known(self, previous: ShareId | None, paths: Sequence[Path]) -> Known:
        """The stamps and hashes of an earlier share of the same paths."""
        if previous is None:
            return {}
        try:
            manifest = self._library.manifest(previous)
            stamps = self._library.stamps(previous)
        except (NotFound, BadData):
            return {}
        known = {entry.path: (stamp, entry.hashes) for entry, stamp in zip(manifest.entries, stamps, strict=True)}
        # A single file is in the share under the share's name.
        return dict(zip([(paths[0].name,)], known.values(), strict=True)) if manifest.root.single else known


def _nothing_to_share(path: Path, indexer: Indexer) -> str:
    if [where for where, _ in indexer.skipped_files] == [str(path)]:
        return f"{shortened(str(path))} cannot be shared: {indexer.skipped_files[0][1]}."
    said = f"There is nothing to share in {shortened(str(path))}."
    if indexer.left_out:
        said += f" Patterns leave out {indexer.left_out:,} of its files and folders."
    if indexer.skipped_files:
        where, why = indexer.skipped_files[0]
        more = f" and {indexer.skipped - 1:,} more" if indexer.skipped > 1 else ""
        said += f" {shortened(where)}{more} cannot be shared: {why}."
    return said


async def _hash(indexer: Indexer) -> None:
    """Runs one round of hashing on all cores."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limiter = trio.CapacityLimiter(workers)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(_work, indexer, limiter)


async def _work(indexer: Indexer, limiter: trio.CapacityLimiter) -> None:
    await trio.to_thread.run_sync(indexer.work, trio.from_thread.check_cancelled, limiter=limiter)


async def _sample(indexer: Indexer, progress: Progress) -> None:
    before = indexer.bytes_done
    while True:
        _look(indexer, progress)
        await trio.sleep(SAMPLE_INTERVAL_S)
        progress.measured(indexer.bytes_done - before, SAMPLE_INTERVAL_S)
        before = indexer.bytes_done


def _look(indexer: Indexer, progress: Progress) -> None:
    progress.size = indexer.bytes_total
    progress.done = indexer.bytes_done
    progress.files = indexer.files
