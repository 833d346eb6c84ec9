"""The fetches of a peer's user, as things of their own: they are listed, paused, resumed and removed by their ids.

A fetch runs in a task of its own, not in that of the command that began it. The command follows it; if it goes away,
its fetch is paused, unless it runs in the background. What was under way when a node ended goes on at its next start.
The states are those of `core.shares.fetch_states`.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import trio

from p2p.concurrency.bell import Bell
from p2p.concurrency.throttle import Throttle
from p2p.concurrency.walls import Wall
from p2p.control import answers
from p2p.control.background_jobs import NO_NODE
from p2p.control.fetch_ids import id_of
from p2p.control.getting import Found
from p2p.control.protocol import Emit, Failure, GetRequest
from p2p.control.reporting import reported
from p2p.control.user_fetch import UserFetch
from p2p.core.shares.fetch_states import UNDER_WAY, Move, after, why_not
from p2p.errors import ConfigError, NotFound, ShoalError
from p2p.formats import quoted
from p2p.ids import ShareId, short, to_text
from p2p.progress import Progress
from p2p.sharing.fetching.leftovers import Leftovers, Removed
from p2p.store import kept_fetches
from p2p.store.disk import Disk
from p2p.store.kept_fetches import KeptFetches
from p2p.wire.link import Link, PeerHint, parse_any_link, parse_peer

logger = logging.getLogger(__name__)

RUNNING = Wall("fetch of the user")

MAX_AT_ONCE = 16
"""How many fetches run in the background at a time; others wait for their turn."""


class Get(Protocol):
    """The type of `Getting.get`."""

    def __call__(
        self, request: GetRequest, progress: Progress, throttle: Throttle, found: Found, *, keep_serving: bool
    ) -> Awaitable[answers.GetAnswer]: ...


AskToo = Callable[[ShareId, Sequence[PeerHint]], None]
"""Has more peers asked for a share that is being fetched."""


class UserFetches:
    """All fetches of one peer's user. `of_node`: whether the peer is a node, rather than the peer of one command."""

    def __init__(
        self,
        store: KeptFetches,
        disk: Disk,
        get: Get,
        ask_too: AskToo,
        leftovers: Leftovers,
        changes: Bell,
        *,
        of_node: bool,
    ) -> None:
        self._store = store
        self._disk = disk
        self._get = get
        self._ask_too = ask_too
        self._leftovers = leftovers
        self._changes = changes
        self._of_node = of_node
        self._all: dict[bytes, UserFetch] = {}
        self._line: list[UserFetch] = []
        self._at_work: set[UserFetch] = set()
        self._being_removed: list[UserFetch] = []
        self._writing = trio.Lock()
        self._orders, self._to_do = trio.open_memory_channel[Callable[[], Awaitable[None]]](float("inf"))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs fetches until cancelled. A node goes on with those that were under way."""
        for kept in await self._disk.run(self._store.recover):
            try:
                self._all[kept.id] = UserFetch(kept, keep_serving=True)
            except msgspec.ValidationError as error:
                logger.warning("a fetch of %s is left out: another version stored it (%s)", quoted(kept.name), error)
        async with trio.open_nursery() as nursery:
            task_status.started()
            if self._of_node:
                self._line += [one for one in self._all.values() if one.kept.state == "waiting"]
                self._fill()
            async for order in self._to_do:
                nursery.start_soon(order)

    # What users ask.

    def rows(self) -> list[answers.FetchRow]:
        """All fetches, the newest first."""
        ordered = sorted(self._all.values(), key=lambda one: one.kept.created, reverse=True)
        return [one.row(running=one in self._at_work) for one in ordered]

    def matching(self, text: str) -> list[UserFetch]:
        """The fetches whose ids begin with this text."""
        return [one for one in self._all.values() if text and to_text(one.kept.id).startswith(text.lower())]

    async def get(self, request: GetRequest, emit: Emit, *, keep_serving: bool) -> answers.GetAnswer:
        """Fetches a share, or goes on with the same fetch. It is paused if this is cancelled. Raises ShoalError."""
        one = await self._taken(request, background=False, keep_serving=keep_serving)
        return await self._held(one, emit)

    async def begin(self, request: GetRequest) -> answers.Errand:
        """Begins a fetch in the background, or goes on with the same fetch there. Raises ConfigError, StorageError."""
        self._check_node()
        return (await self._taken(request, background=True, keep_serving=True)).errand()

    async def resume(
        self, one: UserFetch, peers: Sequence[str], emit: Emit, *, keep_serving: bool
    ) -> answers.GetAnswer:
        """Goes on with a fetch, of which these peers are asked too. It is paused again if this is cancelled.

        Raises ShoalError.
        """
        await self._go_on(one, peers, background=False, keep_serving=keep_serving)
        return await self._held(one, emit)

    async def resume_in_background(self, one: UserFetch, peers: Sequence[str]) -> answers.Errand:
        """Goes on with a fetch that nobody has to wait for. Raises ConfigError."""
        self._check_node()
        await self._go_on(one, peers, background=True, keep_serving=True)
        return one.errand()

    async def follow(self, one: UserFetch, emit: Emit) -> answers.GetAnswer:
        """Waits until a fetch ends, and does not end it. Raises ShoalError if it is not done then."""
        if self._is_under_way(one):
            async with reported(one.progress, emit):
                await one.ended.wait()
        return self._outcome(one)

    async def pause(self, one: UserFetch) -> answers.Errand:
        """Stops a fetch until it is resumed. Raises ConfigError."""
        if after(one.kept.state, "pause") is None:
            raise ConfigError(f"Fetch {short(one.kept.id)} {why_not(one.kept.state)}.")
        await self._halt(one)
        return one.errand()

    async def limit(self, one: UserFetch, bytes_per_s: int) -> None:
        """Limits one fetch, also when it is resumed later; 0 means no limit. Raises StorageError."""
        one.limit(bytes_per_s)
        await self._write(one)

    async def remove(self, one: UserFetch, *, finished: bool) -> Removed:
        """Stops a fetch, deletes what it left (`Leftovers.remove`), and forgets it. Nothing is fetched there meanwhile.

        Raises ConfigError, StorageError.
        """
        self._check_stays(one)
        for other in self._all.values():
            if other is not one and self._is_under_way(other) and one.has_same_files(other):
                raise ConfigError(
                    f"Fetch {short(other.kept.id)} gets the same files. `shoal pause {short(other.kept.id)}` stops "
                    "that; then give the command again."
                )
        self._being_removed.append(one)
        try:
            if finished:
                await self._check_known(one)
            if after(one.kept.state, "pause") is not None:
                await self._halt(one)
            removed = Removed()
            if one.kept.share is not None:
                removed = await self._leftovers.remove(one.kept.share, Path(one.request.out), finished=finished)
            await self._forget(one)
        finally:
            self._being_removed.remove(one)
        return removed

    def _check_stays(self, one: UserFetch) -> None:
        """Raises ConfigError if the fetch is being removed, or another of the same files."""
        if any(other is one or one.has_same_files(other) for other in self._being_removed):
            raise ConfigError(f"Fetch {short(one.kept.id)} is being removed. Give the command again once it is.")

    async def _check_known(self, one: UserFetch) -> None:
        """Raises ConfigError if the files that the fetch has finished cannot be told from others any more."""
        share = one.kept.share
        if one.kept.state == "done" and share is not None and not await self._leftovers.are_known(share):
            raise ConfigError(
                f"This peer no longer shares what fetch {short(one.kept.id)} got, and does not know what was in "
                "the files. Delete them yourself, and leave out --delete-files."
            )

    async def _forget(self, one: UserFetch) -> None:
        """Forgets a fetch that is not under way."""
        async with self._writing:
            await self._disk.run(self._store.forget, one.kept.id)
            if self._all.get(one.kept.id) is one:
                del self._all[one.kept.id]

    # Under way.

    def _is_under_way(self, one: UserFetch) -> bool:
        return one in self._at_work or one in self._line

    async def _is_going_on(self, one: UserFetch) -> bool:
        """Whether it is under way, and nobody is stopping it. If somebody is, waits until it has stopped."""
        while self._is_under_way(one):
            if one.kept.state in UNDER_WAY:
                return True
            await one.ended.wait()
            await trio.lowlevel.checkpoint()
        return False

    async def _keep_going(self, one: UserFetch, background: bool) -> None:
        if background and not one.kept.background:
            one.kept = one.kept._replace(background=True)
            await self._write(one)

    async def _taken(self, request: GetRequest, *, background: bool, keep_serving: bool) -> UserFetch:
        """The fetch that the request is for, which is under way then."""
        fetch = id_of(request)
        while (one := self._all.get(fetch)) is not None:
            self._check_stays(one)
            if not await self._is_going_on(one):
                if self._all.get(fetch) is one:
                    break
                continue  # another command has begun it meanwhile
            if one.request == request:
                await self._keep_going(one, background)
                return one
            if one.watchers:
                raise ConfigError(
                    f"This is being fetched already, with other options. `shoal pause {short(fetch)}` stops that; "
                    "then give the command again."
                )
            background = background or one.kept.background
            await self.pause(one)
        link = parse_any_link(request.link)
        share = link.share_id if isinstance(link, Link) else None
        asked, name = msgspec.to_builtins(request), link.name or ""
        kept = kept_fetches.new(fetch, asked, share, name, of_node=self._of_node, background=background)
        if one is not None:
            kept = kept._replace(created=one.kept.created, size=one.kept.size, done=one.kept.done)
        begun = UserFetch(kept, keep_serving=keep_serving)
        begun.is_new = one is None
        self._all[fetch] = begun
        self._begin(begun)
        try:
            with trio.CancelScope(shield=True):  # whoever is cancelled then pauses it
                async with self._writing:
                    await self._disk.run(self._store.begin, begun.kept)
        except ShoalError:
            await self._stop(begun)
            if self._all.get(fetch) is begun:
                del self._all[fetch]
                if one is not None:
                    self._all[fetch] = one
            raise
        return begun

    async def _go_on(self, one: UserFetch, peers: Sequence[str], *, background: bool, keep_serving: bool) -> None:
        hints = [parse_peer(text) for text in peers]
        if await self._is_going_on(one):
            one.add(peers)
            if one.kept.share is not None:
                self._ask_too(one.kept.share, hints)
            await self._keep_going(one, background)
            return
        self._check_stays(one)
        if self._all.get(one.kept.id) is not one:
            raise ConfigError(f"Fetch {short(one.kept.id)} was changed meanwhile. Give the command again.")
        if one.kept.state == "done":
            raise ConfigError(f"Fetch {short(one.kept.id)} is done: there is nothing left to do.")
        one.add(peers)
        one.kept = one.kept._replace(of_node=self._of_node, background=background, outcome=None)
        one.renew()
        one.keep_serving, one.is_new = keep_serving, False
        if one.kept.state != "waiting":
            one.kept = one.kept._replace(state="waiting")
        self._begin(one)
        with trio.CancelScope(shield=True):
            await self._write(one)

    def _begin(self, one: UserFetch) -> None:
        """Has it run, at once if a command waits for it."""
        if one.kept.background:
            self._line.append(one)
            self._fill()
        else:
            self._start(one)

    def _fill(self) -> None:
        """Starts those whose turn it is."""
        while self._line and sum(not one.watchers for one in self._at_work) < MAX_AT_ONCE:
            self._start(self._line.pop(0))

    def _start(self, one: UserFetch) -> None:
        self._at_work.add(one)
        self._orders.send_nowait(partial(self._run, one))

    async def _run(self, one: UserFetch) -> None:
        """Runs a fetch to its end, or until it is stopped."""
        try:
            try:
                with RUNNING.around(), one.scope:
                    if await self._move(one, "start"):
                        one.progress.state = "looking for sources"
                        found = partial(self._found, one)
                        one.answer = await self._get(
                            one.request, one.progress, one.throttle, found, keep_serving=one.keep_serving
                        )
            except ShoalError as error:
                one.failure = error
            await RUNNING.contain(self._end, one)
        finally:
            self._at_work.discard(one)
            one.ended.set()
            self._changes.ring()
            self._fill()

    async def _found(self, one: UserFetch, link: Link) -> None:
        if one.kept.share != link.share_id:
            one.kept = one.kept._replace(share=link.share_id)
            await self._write(one)
        self._check_stays(one)

    async def _end(self, one: UserFetch) -> None:
        if one.answer is not None:
            await self._move(one, "finish", one.kept_answer())
        elif one.failure is not None and one.is_new and not one.kept.background and not one.progress.done:
            await self._forget(one)  # a mistake in the command, say: there is nothing to resume
        elif one.failure is not None:
            told = Failure(type(one.failure).__name__, str(one.failure))
            await self._move(one, "fail", {"kind": told.kind, "text": told.text})

    async def _halt(self, one: UserFetch) -> None:
        """Pauses a fetch that may be under way; also if cancelled, or it would be called paused and go on."""
        with trio.CancelScope(shield=True):
            await self._move(one, "pause")
            await self._stop(one)

    async def _stop(self, one: UserFetch) -> None:
        """Ends the task of a fetch, whose state is changed already."""
        if one in self._line:
            self._line.remove(one)
            one.ended.set()
        one.scope.cancel()
        if one in self._at_work:
            await one.ended.wait()

    async def _held(self, one: UserFetch, emit: Emit) -> answers.GetAnswer:
        """Follows a fetch, which is paused if this is cancelled and nobody else holds it."""
        one.watchers += 1
        ended = one.ended
        try:
            async with reported(one.progress, emit):
                await ended.wait()
        finally:
            one.watchers -= 1
            if not ended.is_set():
                # If the whole peer ends, nobody carries this out, and its next start goes on with the fetch.
                self._orders.send_nowait(partial(RUNNING.contain, self._left, one))
        return self._outcome(one)

    async def _left(self, one: UserFetch) -> None:
        if not one.watchers and not one.kept.background:
            with suppress(ConfigError):
                await self.pause(one)

    def _outcome(self, one: UserFetch) -> answers.GetAnswer:
        """The answer of a fetch that has ended. Raises ShoalError if it is not done."""
        if one.answer is None and one.failure is None and self._all.get(one.kept.id) is not one:
            raise NotFound("The fetch was removed.")
        return one.outcome()

    # The list.

    async def _move(self, one: UserFetch, move: Move, outcome: Any = None) -> bool:
        """Changes the state, if the move is legal. Returns whether it is."""
        state = after(one.kept.state, move)
        if state is None:
            return False
        one.kept = one.seen()._replace(state=state, outcome=outcome)
        await self._write(one)
        self._changes.ring()
        return True

    async def _write(self, one: UserFetch) -> None:
        async with self._writing:  # what is written last is how it is
            if self._all.get(one.kept.id) is one:
                for forgotten in await self._disk.run(self._store.change, one.kept):
                    self._all.pop(forgotten, None)

    def _check_node(self) -> None:
        if not self._of_node:
            raise ConfigError(NO_NODE)
