"""Fetching a share, from its link to files in place.

Manifest first, then the swarm. A fetch waits for sources for as long as it is let, and says so; it ends with every
selected file right, or with an error that says why not. What it has is kept, and the next try goes on from there.
"""

import fnmatch
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from p2p.concurrency.supervision import storage_errors_plain
from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import Limits, Manifest
from p2p.errors import ConfigError, NotFound, ShoalError
from p2p.ids import PeerId, ShareId
from p2p.peer_context import Local
from p2p.progress import Progress
from p2p.sharing import share
from p2p.sharing.fetching import reuse
from p2p.sharing.fetching.receiver import Receiver
from p2p.sharing.fetching.sources import Gathering, under_way
from p2p.sharing.reading import joint_fetch as joining
from p2p.sharing.reading.open_share import Held
from p2p.sharing.swarm import Swarm
from p2p.store.earlier import Earlier
from p2p.store.target import Target
from p2p.units import format_time
from p2p.wire.link import Link, PeerHint

TICK_S = 0.1


@dataclass(frozen=True)
class Options:
    """What the user asked for. `select` are globs on the paths within the share; empty means everything."""

    folder: Path
    select: tuple[str, ...] = ()
    sequential: bool = False
    overwrite: bool = False
    wait_s: float | None = None
    limit_bytes_per_s: int = 0
    keep_serving: bool = False
    limits: Limits | None = None
    """How large a share may be; None: as this peer accepts any."""
    follows: tuple[PeerId, str] | None = None
    """The pointer (publisher, name) whose newest version this is: the version before is made use of and replaced."""


@dataclass(frozen=True)
class Result:
    """What a fetch came to. `seconds` from the first request to the last rename."""

    paths: tuple[Path, ...]
    bytes: int
    received: int
    seconds: float
    sources: dict[PeerId, int]
    """Bytes by peer, from those that gave any; empty where a job was fetching it too."""


async def fetch(local: Local, link: Link, hints: Sequence[PeerHint], options: Options, progress: Progress) -> Result:
    """Fetches a share. Raises NotFound when nobody has it for `wait_s`, StorageError, ConfigError, BadData."""
    if local.inputs.being_read(link.share_id):
        return await _Fetch(local, link, options, progress).join(hints)
    with under_way(local, link.share_id, progress):
        return await _Fetch(local, link, options, progress).run(hints)


class _Fetch:
    """The steps of one fetch."""

    def __init__(self, local: Local, link: Link, options: Options, progress: Progress) -> None:
        self._local = local
        self._share: ShareId = link.share_id
        self._link = link
        self._options = options
        self._progress = progress
        self._earlier: Earlier | None = None
        self._gathering = Gathering(local, link, progress, options.limits)
        progress.name = link.name or ""
        progress.size = link.size or 0

    async def run(self, hints: Sequence[PeerHint]) -> Result:
        await self._gathering.start(self._options.folder)
        outcome: Result | ShoalError
        with storage_errors_plain():  # perhaps from a task beside the steps: the home's disk
            async with self._gathering.running(hints) as nursery:
                try:
                    outcome = await self._steps(nursery)
                except ShoalError as error:
                    outcome = error
        if isinstance(outcome, ShoalError):
            raise outcome
        return outcome

    async def join(self, hints: Sequence[PeerHint]) -> Result:
        """Together with a job of this peer that is fetching what it reads of the share."""
        local, share_id = self._local, self._share
        held = local.inputs.use(share_id, [*hints, *self._link.peers])
        outcome: Result | ShoalError
        try:
            with joining.joined(held):
                await trio.to_thread.run_sync(local.records.remember, share_id, self._options.folder)
                async with trio.open_nursery() as nursery:
                    try:
                        outcome = await self._steps(nursery, held)
                    except ShoalError as error:
                        outcome = error
                    nursery.cancel_scope.cancel()
        finally:
            await local.inputs.release(held)
        if isinstance(outcome, ShoalError):
            raise outcome
        return outcome

    async def _steps(self, nursery: trio.Nursery, held: Held | None = None) -> Result:
        """`held`: what a job is fetching of it, if one is."""
        impatience = _Impatience(self._options.wait_s, self._progress)
        with trio.CancelScope() as scope:
            nursery.start_soon(impatience.watch, scope)
            target = await self._prepare(await self._manifest(held))
            try:
                with suppress(NotFound):
                    await reuse.from_library(self._local, self._share, target, self._progress)
                if self._earlier is not None:
                    await reuse.from_earlier(self._local, self._earlier, target, self._progress)
                return await (self._receive(target, nursery) if held is None else self._share_reading(target, held))
            finally:
                target.close()
                target.record.close()
        raise NotFound(
            f"Nobody had it for {format_time(self._options.wait_s or 0)}"
            + (f" ({self._progress.trouble})" if self._progress.trouble else "")
            + ". Run the same command again later: what was fetched is kept."
        )

    async def _manifest(self, held: Held | None) -> Manifest:
        if held is not None:
            return (await joining.layout_of(held)).manifest
        manifests = self._gathering.manifests
        await manifests.ready.wait()
        return await manifests.manifest()

    async def _prepare(self, manifest: Manifest) -> Target:
        """Layout, selection and a look at the disk."""
        progress, options, local = self._progress, self._options, self._local
        progress.name = manifest.root.name
        progress.state = "checking what is there"
        check = trio.from_thread.check_cancelled

        if options.follows is not None:
            self._earlier = await trio.to_thread.run_sync(
                reuse.find_earlier, local, options.folder, *options.follows, limiter=local.disk
            )

        def open_target() -> Target:
            layout = Layout(manifest)
            selected = select_entries(manifest, options.select)
            record = local.records.begin(self._share, options.folder, layout.chunks)
            with ExitStack() as undo:
                undo.callback(record.close)
                target = Target(
                    layout, options.folder, selected, record, overwrite=options.overwrite, earlier=self._earlier
                )
                undo.callback(target.close)
                target.survey(check)
                target.check_space()
                target.make_empty()
                undo.pop_all()
            return target

        target = await trio.to_thread.run_sync(open_target, limiter=local.disk)
        progress.files = len(target.selected)
        progress.files_done = len(target.placed)
        progress.size = target.layout.bytes_in(target.wanted)
        progress.done = progress.resumed = target.layout.bytes_in(target.wanted & target.record.have)
        return target

    async def _receive(self, target: Target, nursery: trio.Nursery) -> Result:
        options, progress = self._options, self._progress
        receiver = Receiver(
            self._local,
            target,
            progress,
            self._gathering.heard_of,
            sequential=options.sequential,
            limit_bytes_per_s=options.limit_bytes_per_s,
        )
        started = trio.current_time()
        with self._gathering.exchanging(nursery, target, receiver):
            async with receiver.verifying():
                while not receiver.done and receiver.failure is None:
                    receiver.tick()
                    with trio.move_on_after(TICK_S):
                        await receiver.ended()
            ended = trio.current_time()
            if receiver.failure is not None:
                raise receiver.failure
            await self._keep(target, receiver.swarm)
        return self._result(target, ended - (self._gathering.first_request or started), receiver.from_peers)

    async def _share_reading(self, target: Target, held: Held) -> Result:
        started = trio.current_time()
        await joining.Joining(self._local, held, target, self._progress, self._options.limit_bytes_per_s).run()
        ended = trio.current_time()
        await self._keep(target, None)
        return self._result(target, ended - started, {})

    async def _keep(self, target: Target, swarm: Swarm | None) -> None:
        """All files are in place: what is to be known of them from now on."""
        options = self._options
        if options.follows is not None:
            await self._keep_version(target, *options.follows)
        if options.keep_serving:
            await share.keep_serving(self._local, target, swarm)
        await trio.to_thread.run_sync(target.record.forget)

    def _result(self, target: Target, seconds: float, sources: dict[PeerId, int]) -> Result:
        progress = self._progress
        progress.state = "done"
        return Result(tuple(target.results()), target.selected_bytes, progress.received, seconds, sources)

    async def _keep_version(self, target: Target, publisher: PeerId, name: str) -> None:
        """What is in the folder now is this version; the one before is no longer there to be served."""
        local, folder = self._local, self._options.folder

        def keep() -> ShareId | None:
            before = local.pointers.version(publisher, name, folder)
            local.pointers.keep_version(publisher, name, folder, self._share, target.stamps())
            if before is None or before[0] == self._share:
                return None
            served = local.library.share(before[0])
            replaced = served is not None and served.fetched and served.paths == (str(target.top),)
            return before[0] if replaced else None

        replaced = await trio.to_thread.run_sync(keep, limiter=local.disk)
        if replaced is not None:
            with suppress(NotFound):
                await share.unshare(local, replaced)


class _Impatience:
    """Ends a fetch for which nobody had anything for `wait_s` seconds."""

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
            busy = progress.state in {"checking what is there", "putting files into place"}
            if progress.received != before or busy:
                before = progress.received
                deadline = trio.current_time() + self._wait_s
            await trio.sleep(min(TICK_S, self._wait_s))
        scope.cancel()


def select_entries(manifest: Manifest, globs: Sequence[str]) -> list[int]:
    """The indexes of the entries that match one of the globs, by path or by a folder above it. Raises ConfigError."""
    if not globs:
        return list(range(len(manifest.entries)))
    selected = []
    for index, entry in enumerate(manifest.entries):
        heads = ["/".join(entry.path[:depth]) for depth in range(1, len(entry.path) + 1)]
        if any(fnmatch.fnmatchcase(head, glob.rstrip("/")) for glob in globs for head in heads):
            selected.append(index)
    if not selected:
        some = ", ".join("/".join(entry.path) for entry in manifest.entries[:5])
        raise ConfigError(f"Nothing in the share matches {' '.join(globs)}. It has, for example: {some}.")
    return selected
