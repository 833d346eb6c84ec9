"""Fetching a share, from its link to files in place.

Manifest first, then the swarm. A fetch waits for sources for as long as it is let, and says so; it ends with every
selected file right, or with an error that says why not. What it has is kept, and the next try goes on from there.
"""

import fnmatch
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from p2p.core.layout import Layout
from p2p.core.manifest import Manifest
from p2p.errors import (
    BadData,
    ConfigError,
    NotFound,
    PeerGone,
    ProtocolViolation,
    Refused,
    ShoalError,
)
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.services import finders, reuse, share
from p2p.services.callers import Callers
from p2p.services.exchange import Exchange
from p2p.services.local import Local
from p2p.services.manifests import ManifestFetch
from p2p.services.progress import Progress
from p2p.services.receive import Receiver
from p2p.services.serve import answer, converse
from p2p.services.sources import Sources
from p2p.services.supervision import storage_errors_plain
from p2p.store.earlier import Earlier
from p2p.store.library import NOT_HELD, SharedFiles, Stamp
from p2p.store.target import Target
from p2p.units import format_time
from p2p.wire import messages
from p2p.wire.frames import DataHeader
from p2p.wire.link import Link, PeerHint, parse_peer

TICK_S = 0.1
RATE_EVERY_S = 0.5
OPEN_S = 20.0
KEEP_SOURCES_EVERY_S = 10.0
MOST_KEPT_SOURCES = 32


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
    """Bytes by peer, from those that gave any."""


async def fetch(local: Local, link: Link, hints: Sequence[PeerHint], options: Options, progress: Progress) -> Result:
    """Fetches a share. Raises NotFound when nobody has it for `wait_s`, StorageError, ConfigError, BadData."""
    if link.share_id in local.fetching:
        raise ConfigError("This peer is fetching that share already; `shoal status` shows how far it is.")
    local.fetching[link.share_id] = progress
    local.news.ring()
    try:
        return await _Fetch(local, link, options, progress).run(hints)
    finally:
        del local.fetching[link.share_id]
        local.news.ring()


class _Fetch:
    """The steps of one fetch."""

    def __init__(self, local: Local, link: Link, options: Options, progress: Progress) -> None:
        self._local = local
        self._link = link
        self._share: ShareId = link.share_id
        self._options = options
        self._progress = progress
        self._receiver: Receiver | None = None
        self._earlier: Earlier | None = None
        self._receiving = trio.Event()
        self._first_request: float | None = None
        self._manifests = ManifestFetch(local, link.share_id, local.library.limits)
        progress.name = link.name or ""
        progress.size = link.size or 0

    async def run(self, hints: Sequence[PeerHint]) -> Result:
        local, options = self._local, self._options
        await trio.to_thread.run_sync(local.records.remember, self._share, options.folder)
        earlier = await trio.to_thread.run_sync(local.records.sources, self._share)
        await self._manifests.start()
        with storage_errors_plain():  # perhaps from a task beside the steps: the home's disk
            return await self._run(hints, earlier)

    async def _run(self, hints: Sequence[PeerHint], earlier: Sequence[str]) -> Result:
        outcome: Result | ShoalError
        async with trio.open_nursery() as nursery:
            local, progress, share = self._local, self._progress, self._share
            callers = Callers(local, share, self._talk, self._is_member, progress)
            sources = Sources(local, nursery, self._talk, self._is_member, self._given_by, progress, callers)
            local.wanted[share] = callers.take
            for hint in (*hints, *self._link.peers):
                sources.add(hint)
            for text in earlier:
                with suppress(ConfigError):
                    sources.add(parse_peer(text))
            nursery.start_soon(finders.find, self._local, self._link, sources, self._progress.note)
            try:
                outcome = await self._steps(nursery, sources)
            except ShoalError as error:
                outcome = error
            finally:
                del local.wanted[share]
                callers.close()
            nursery.cancel_scope.cancel()
        if isinstance(outcome, ShoalError):
            raise outcome
        return outcome

    async def _steps(self, nursery: trio.Nursery, sources: Sources) -> Result:
        impatience = _Impatience(self._options.wait_s, self._progress)
        with trio.CancelScope() as scope:
            nursery.start_soon(impatience.watch, scope)
            await self._manifests.ready.wait()
            manifest = await self._manifests.manifest()
            target = await self._prepare(manifest)
            try:
                with suppress(NotFound):
                    await reuse.from_library(self._local, self._share, target, self._progress)
                if self._earlier is not None:
                    await reuse.from_earlier(self._local, self._earlier, target, self._progress)
                return await self._receive(target, nursery, sources)
            finally:
                target.close()
                target.record.close()
        raise NotFound(
            f"Nobody had it for {format_time(self._options.wait_s or 0)}"
            + (f" ({self._progress.trouble})" if self._progress.trouble else "")
            + ". Run the same command again later: what was fetched is kept."
        )

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

    async def _receive(self, target: Target, nursery: trio.Nursery, sources: Sources) -> Result:
        local, options, progress = self._local, self._options, self._progress
        receiver = Receiver(
            local,
            target,
            progress,
            sources.heard_of,
            sequential=options.sequential,
            limit_bytes_per_s=options.limit_bytes_per_s,
        )
        standing = local.swarms.get(self._share)
        local.swarms[self._share] = receiver.swarm
        if standing is not None:
            standing.disband("the share is being fetched again")
        self._receiver = receiver
        self._receiving.set()
        local.news.ring()
        started = trio.current_time()
        nursery.start_soon(receiver.keep_on_disk)
        nursery.start_soon(self._keep_sources, target, sources)
        try:
            async with receiver.verifying():
                await self._until_done(receiver)
            ended = trio.current_time()
            if receiver.failure is not None:
                raise receiver.failure
            if options.follows is not None:
                await self._keep_version(target, *options.follows)
            if options.keep_serving:
                await self._keep_serving(target, receiver)
            await trio.to_thread.run_sync(target.record.forget)
        finally:
            if local.swarms.get(self._share) is receiver.swarm and receiver.swarm.sink is not None:
                del local.swarms[self._share]
                receiver.swarm.disband("this peer has stopped fetching")
        progress.state = "done"
        return Result(
            paths=tuple(target.results()),
            bytes=target.selected_bytes,
            received=progress.received,
            seconds=ended - (self._first_request or started),
            sources=receiver.from_peers,
        )

    async def _until_done(self, receiver: Receiver) -> None:
        """Ticks, and keeps the figures that people look at."""
        progress = self._progress
        measured_at, measured = trio.current_time(), progress.received
        while not receiver.done and receiver.failure is None:
            receiver.tick()
            now = trio.current_time()
            if now - measured_at >= RATE_EVERY_S:
                progress.measured(progress.received - measured, now - measured_at)
                measured_at, measured = now, progress.received
            progress.state = "fetching" if progress.sources else "waiting for sources"
            if progress.sources and not receiver.covered():
                progress.state = "waiting for sources"
                progress.trouble = "those connected lack some of it"
            if progress.done >= progress.size:
                progress.state = "putting files into place"
            with trio.move_on_after(TICK_S):
                await receiver.ended()

    async def _keep_serving(self, target: Target, receiver: Receiver) -> None:
        """The fetched share joins the library, in place; those who are fetching it here go on."""
        local = self._local
        stamps = _stamps(target)

        def add() -> SharedFiles:
            root = local.library.root(self._share)
            assert root is not None
            shared = local.library.share(self._share)
            if shared is None or shared.fetched or shared.stale:
                # Not listed: whether its publisher wants it listed is not known here.
                local.library.add(self._share, root, [], [target.top], stamps, unlisted=True, fetched=True)
            return SharedFiles(local.library, self._share)

        receiver.swarm.holding = await trio.to_thread.run_sync(add, limiter=local.disk)
        receiver.swarm.sink = None
        local.news.ring()

    async def _keep_version(self, target: Target, publisher: PeerId, name: str) -> None:
        """What is in the folder now is this version; the one before is no longer there to be served."""
        local, folder = self._local, self._options.folder

        def keep() -> ShareId | None:
            before = local.pointers.version(publisher, name, folder)
            local.pointers.keep_version(publisher, name, folder, self._share, _stamps(target))
            if before is None or before[0] == self._share:
                return None
            served = local.library.share(before[0])
            replaced = served is not None and served.fetched and served.paths == (str(target.top),)
            return before[0] if replaced else None

        replaced = await trio.to_thread.run_sync(keep, limiter=local.disk)
        if replaced is not None:
            with suppress(NotFound):
                await share.unshare(local, replaced)

    async def _keep_sources(self, target: Target, sources: Sources) -> None:
        """Whom to ask first after a restart."""
        kept: list[str] = []
        while True:
            hints = [str(PeerHint(address, peer)) for peer, address in sources.useful.items()][-MOST_KEPT_SOURCES:]
            if hints and hints != kept:
                kept = hints
                await trio.to_thread.run_sync(target.record.keep_sources, hints)
            await trio.sleep(KEEP_SOURCES_EVERY_S if kept else TICK_S)

    def _is_member(self, peer: PeerId) -> bool:
        return self._receiver is not None and peer in self._receiver.swarm.members

    def _given_by(self, peer: PeerId) -> int:
        return self._receiver.from_peers.get(peer, 0) if self._receiver is not None else 0

    async def _talk(self, connection: Connection) -> None:
        """The whole conversation with one source. Raises PeerError."""
        if self._first_request is None:
            self._first_request = trio.current_time()
        try:
            await self._manifests.work(connection)
        except BadData:
            self._local.standing.strike(connection.ends.peer_id, trio.current_time())
            raise
        await self._receiving.wait()
        assert self._receiver is not None
        with trio.move_on_after(OPEN_S) as patience:
            await connection.send(messages.Open(share=self._share))
            reply = await connection.receive()
        if patience.cancelled_caught:
            raise PeerGone("it did not open the exchange in time")
        if isinstance(reply, messages.Failed):
            if reply.reason != messages.NOT_FOUND:
                raise Refused(reply.reason)
            await self._offer(connection)
        if isinstance(reply, DataHeader):
            raise ProtocolViolation("chunks before they were asked for")
        await Exchange(connection, self._receiver.swarm, self._local, partial(answer, self._local)).run(reply)

    async def _offer(self, connection: Connection) -> None:
        """It may be fetching too and have no manifest yet: then it is glad of this peer. Raises PeerError."""
        assert self._receiver is not None
        if self._receiver.held:
            await connection.send(messages.Offer(share=self._share))
            with suppress(Refused):
                await converse(self._local, connection)
        raise Refused("it does not have the share")


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


def _stamps(target: Target) -> list[Stamp]:
    return [target.placed.get(entry, NOT_HELD) for entry in range(len(target.layout.manifest.entries))]


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
