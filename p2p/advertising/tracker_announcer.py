"""Announcing: keeps the trackers in this peer's settings informed of what it offers, and uses their answers.

An announce that fails is retried at growing intervals.
"""

import logging
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from p2p import ids
from p2p.advertising.adverts import gather
from p2p.advertising.deps import Deps
from p2p.advertising.inventory import Inventory
from p2p.advertising.tracker_delta import TrackerDelta
from p2p.backoff import Backoff
from p2p.concurrency.walls import Wall
from p2p.discovery.trackers import Trackers, problem_in, read
from p2p.errors import ConfigError, NotFound, PeerError, Refused, StorageError
from p2p.ids import PeerId
from p2p.log import printable
from p2p.net.http import Answered
from p2p.wire import tracker as wire
from p2p.wire.address import parse_address
from p2p.wire.records import address_key
from p2p.wire.tracker import Announced

logger = logging.getLogger(__name__)

ANNOUNCE = Wall("announce to a tracker")

BYE_TIMEOUT_S = 2.0
DEBOUNCE_S = 0.05
MAX_STEPS = 200
MAX_CONFLICTS = 3


@dataclass
class TrackerState:
    """The state of one tracker, in a form that can be shown to users."""

    url: str
    trouble: str = ""
    """Why announcing does not work at the moment; empty while it works."""
    announced: float | None = None
    """When the tracker last accepted an announce, by trio's clock."""
    shares: int = 0
    dialable: bool | None = None
    seen_host: str = ""
    refused: tuple[str, ...] = ()


class TrackerAnnouncer:
    """Announces what one peer offers to all its trackers. `run` does so until cancelled, then says goodbye to them."""

    def __init__(self, deps: Deps, trackers: Trackers) -> None:
        self._deps = deps
        self._trackers = trackers
        self._inventory = Inventory(deps.library, deps.disk, deps.swarms)
        self.states = {url: TrackerState(url) for url in trackers.urls}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                for url in self._trackers.urls:
                    nursery.start_soon(ANNOUNCE.keep, partial(self._announce, url), self._deps.random)
                await trio.sleep_forever()
        finally:
            await self._trackers.close()

    async def _announce(self, url: str) -> None:
        """Keeps one tracker informed."""
        delta = TrackerDelta()
        backoff = Backoff()
        state = self.states[url]
        # As if it were a share: looking up this peer finds it as a source of its address key.
        here = wire.Provided(wire.key_text(address_key(self._deps.presence.peer_id)))
        due = trio.current_time()
        told_from = self._deps.presence.addresses
        try:
            while True:
                # Changes that come close together become one announce.
                await trio.sleep(DEBOUNCE_S)
                news = self._deps.changes.count
                addresses = self._deps.presence.addresses
                try:
                    advert = gather(self._deps.adverts)
                    also = [here, *advert.keys]
                    await trio.to_thread.run_sync(delta.want, await self._inventory.all(contents=True), also)
                    if delta.is_pending or addresses != told_from or trio.current_time() >= due:
                        interval = await self._tell(url, delta, state, len(also))
                        due = trio.current_time() + interval * (0.9 + 0.1 * self._deps.random.random())
                except (PeerError, NotFound, StorageError) as error:
                    if not state.trouble:
                        logger.warning("tracker %s: %s", url, error)
                    state.trouble = str(error)
                    await trio.sleep(backoff.failed(self._deps.random.random()))
                    continue
                # The tracker sees for itself where an announce comes from.
                told_from = addresses
                state.trouble = ""
                backoff.worked()
                with trio.move_on_at(due):
                    await self._deps.changes.after(news)
        finally:
            if state.announced is not None and not state.trouble:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + BYE_TIMEOUT_S):
                    await self._say_bye(url, delta)

    async def _tell(self, url: str, delta: TrackerDelta, state: TrackerState, no_shares: int) -> float:
        """Announces until the tracker knows everything. Returns the seconds until the next announce. Raises PeerError.

        `no_shares` is how many of the announced keys are not keys of shares.
        """
        deps = self._deps
        conflicts = 0
        for _ in range(MAX_STEPS):
            announce, change = delta.step(url, deps.dialer.network, deps.dialer.port, self._clock_ms())
            announce = msgspec.structs.replace(announce, capacity=gather(deps.adverts).capacity)
            answered = await self._post(url, announce)
            if answered.status == 409:
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise Refused("it is told of this peer by somebody else too: does another process use this key?")
                delta.conflict(problem_in(answered).sequence)
                continue
            answer = read(answered, Announced)
            delta.taken(announce, change)
            self._learn(url, answer, state, no_shares)
            if not delta.is_pending:
                return float(answer.interval_s)
        raise Refused("it accepts announces, but there is always more to tell it")

    async def _post(self, url: str, announce: wire.Announce) -> Answered:
        body, headers = wire.sign_announce(announce, self._deps.dialer.identity)
        return await self._trackers.announce(url, body, headers)

    async def _say_bye(self, url: str, delta: TrackerDelta) -> None:
        announce, _ = delta.step(url, self._deps.dialer.network, 0, self._clock_ms())
        bye = msgspec.structs.replace(announce, bye=True, add=(), provide=(), drop=())
        try:
            await self._post(url, bye)
        except PeerError as error:
            logger.debug("tracker %s: %s", url, error)

    def _learn(self, url: str, answer: Announced, state: TrackerState, no_shares: int) -> None:
        state.announced = trio.current_time()
        state.shares = max(0, answer.shares - no_shares)
        state.dialable = answer.dialable
        state.seen_host = printable(answer.seen_host)
        state.refused = tuple(printable(text) for text in answer.refused)
        if answer.dialable is not None:
            reachability = self._deps.presence.reachability
            before = reachability.state
            reachability.tracker_says(url, answer.dialable, answer.seen_host)
            if reachability.state is not before:
                self._deps.changes.ring()
        for wanted in answer.wanted:
            try:
                peer, address = PeerId(ids.from_text(wanted.peer)), parse_address(wanted.address)
                key = wire.key_from_text(wanted.key)
            except (ValueError, ConfigError):
                continue
            self._deps.calls.wanted(key, peer, address)

    def _clock_ms(self) -> int:
        return int(self._deps.overlays.clock() * 1000)
