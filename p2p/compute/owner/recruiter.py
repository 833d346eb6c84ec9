"""Finds volunteers for an owner, and says why none were found.

They are peers that the user named, or are found in the local network, through trackers or in the DHT.

Every peer found is dialled and offered the job by the function `engage`. A volunteer without a free core may let the
owner wait in its queue (`queueing`). The owner waits in many queues at the same time, until enough volunteers are
at work. A peer that refused or was lost is asked again a little later, for as long as the job lasts. A volunteer that
cannot be dialled calls (`hiring`), and is then offered the job. Only a few callers that have not taken the job yet are
admitted at a time, and networks share those places (`p2p.places.Seats`), because the owner does not choose its callers.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from p2p.compute.owner.deps import Deps
from p2p.compute.owner.volunteer_session import LeftOut
from p2p.concurrency.walls import Wall
from p2p.core.compute.diagnosis import where_it_waits, why_nothing_runs
from p2p.core.compute.matching import Need, VolunteerOffer, suits
from p2p.core.compute.vacancies import Vacancies
from p2p.errors import PeerError
from p2p.ids import PeerId, short
from p2p.net.connection import Connection, Ends
from p2p.net.conversation import conversation
from p2p.places import Seats
from p2p.wire import work
from p2p.wire.address import is_link_local
from p2p.wire.link import PeerHint
from p2p.wire.tracker import Capacity

logger = logging.getLogger(__name__)

RECRUITING = Wall("recruitment of a volunteer")

FIND_INTERVAL_S = 3.0
REFUSED_RETRY_S = 10.0
FIRST_RETRY_S, MAX_QUICK_RETRIES = 0.25, 5
"""A peer that declined is asked again after FIRST_RETRY_S, then after twice as long, and so on; after MAX_QUICK_RETRIES
times, every REFUSED_RETRY_S.
"""
MAX_VOLUNTEERS = 256
MAX_LINES = 64
"""In how many lines a job waits at most. If all volunteers are busy, the job asks the others again and again."""
MAX_CALLERS = 16
"""The most volunteers that may have called without having answered the offer yet."""
MAX_REMEMBERED = 4096


class Recruiter:
    """Finds volunteers for one job.

    `engage` conducts the whole conversation with a volunteer, and hires it if it takes the job.
    """

    def __init__(
        self,
        deps: Deps,
        need: Need,
        peers: Sequence[PeerHint],
        most: int,
        vacancies: Vacancies,
        engage: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self._deps = deps
        self._vacancies = vacancies
        self._need = need
        self._peers = peers
        self._most = most or MAX_VOLUNTEERS
        self._engage = engage
        self._offers: dict[PeerId, VolunteerOffer] = {}
        self._refusals: dict[PeerId, str] = {}
        self._left_out: dict[PeerId, str] = {}
        """Why the job does without these peers: what this peer found, not what they said."""
        self._found: list[PeerHint] = []
        """Volunteers found by trackers and the DHT."""
        self._unreachable: set[PeerId] = set()
        self._failures: dict[PeerHint, str] = {}
        """Why named peers could not be dialled on the last attempt."""
        self._talking: dict[PeerId, trio.CancelScope] = {}
        self.lines: dict[PeerId, work.JobQueued] = {}
        """The volunteers in whose lines the job waits, with its place in each."""
        self._callers: Seats[PeerId] = Seats("volunteers that call", MAX_CALLERS)
        """Callers that have not said yet whether they take the job."""
        self._called_in_vain: dict[PeerId, float] = {}
        """Callers that did not take the job, each with the time until which it need not call again."""
        self._tried: dict[PeerHint, float] = {}
        self._sooner = trio.Event()
        self._hint_of: dict[PeerId, PeerHint] = {}
        self._times_declined: dict[PeerId, int] = {}
        self._nursery: trio.Nursery | None = None
        self.engaged: set[PeerId] = set()
        """The volunteers that `engage` keeps at work."""

    async def run(self) -> None:
        """Looks for volunteers and talks to them, until cancelled."""
        try:
            await self._run()
        finally:
            self._vacancies.over(self)

    async def _run(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._watch_neighbours)
            self._nursery.start_soon(self._look_up)
            while True:
                now = trio.current_time()
                self._tried = {hint: again for hint, again in self._tried.items() if again > now}
                for hint in self._hints():
                    known = hint.peer_id in self._talking or hint.peer_id == self._deps.presence.peer_id
                    busy = len(self._talking) - len(self._callers) - len(self.lines)
                    if not known and hint not in self._tried and busy < self._most:
                        self._tried[hint] = now + REFUSED_RETRY_S
                        self._nursery.start_soon(RECRUITING.contain, self._dial, hint)
                with trio.move_on_after(FIND_INTERVAL_S):
                    await self._sooner.wait()
                    self._sooner = trio.Event()

    def again(self) -> None:
        """Retries the volunteers that refused: they may have room now."""
        self._tried.clear()
        self._sooner.set()

    def declined(self, peer: PeerId, reason: str) -> None:
        """Records that the peer did not take the job.

        It is asked again, at growing intervals, as it may soon be free; and at once when another job of this owner has
        left a place there.
        """
        self._refused(peer, reason, self._refusals)
        if peer not in self._hint_of:
            return
        self._vacancies.declined(peer, self)
        times = self._times_declined.get(peer, 0)
        if self._nursery is not None and times < MAX_QUICK_RETRIES:
            self._times_declined[peer] = times + 1
            self._nursery.start_soon(self._soon_again, peer, FIRST_RETRY_S * 2.0**times)

    async def _soon_again(self, peer: PeerId, delay_s: float) -> None:
        await trio.sleep(delay_s)
        self.ask_again(peer)

    def ask_again(self, peer: PeerId) -> bool:
        """Asks a volunteer that declined again. Returns whether the job still needs one."""
        self._tried.pop(self._hint_of[peer], None)
        self._sooner.set()
        return len(self.engaged) < self._most

    def may_wait(self, ends: Ends) -> bool:
        """Whether the job would wait in that volunteer's queue.

        A volunteer that called does not need this: it calls again when it has room.
        """
        return ends.dialed and len(self.lines) < MAX_LINES

    def in_line(self, peer: PeerId, queued: work.JobQueued) -> None:
        """Records that the peer may take the job later; until then, others are asked."""
        if peer not in self.lines:
            self._vacancies.found(peer, self)
            self._sooner.set()
        self.lines[peer] = queued

    def why(self) -> str:
        """Returns why nobody is at work, or an empty text if there is no obstacle."""
        if self.lines:
            return where_it_waits([(queued.place, queued.reason) for queued in self.lines.values()])
        dialable = not self._deps.presence.is_out_of_reach
        silent, failures = self._unreachable, list(dict.fromkeys(self._failures.values()))
        refusals = self._refusals, self._left_out
        return why_nothing_runs(self._need, self._offers, *refusals, silent, failures, dialable=dialable)

    # Volunteers that call.

    def wants(self, ends: Ends, offered: Capacity | None) -> bool:
        """Whether to offer the job to a volunteer that has called, and that says it offers this capacity."""
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            return False
        now, peer = trio.current_time(), ends.peer_id
        has_place = len(self._callers) < MAX_CALLERS or bool(self._callers.rivals(ends.remote_host))
        return (
            (offered is None or suits(self._need, _offer(offered)))
            and (has_place and len(self.engaged) < self._most)
            and not (peer in self._talking or peer in self._callers)
            and self._called_in_vain.get(peer, now) <= now
        )

    async def take(self, connection: Connection) -> None:
        """Holds the conversation with a volunteer that called and is wanted, until it ends."""
        assert self._nursery is not None
        displaced = self._callers.enter(connection.ends.peer_id, connection.ends.remote_host).displaced
        if displaced in self._talking:
            self._talking[displaced].cancel()
        over = trio.Event()
        # This runs in a task of the job, so that it ends with the job, and the job does not end before it.
        self._nursery.start_soon(self._talk_to_caller, connection, over)
        await over.wait()

    async def _talk_to_caller(self, connection: Connection, over: trio.Event) -> None:
        peer = connection.ends.peer_id
        try:
            await RECRUITING.contain(self._talk, connection)
        finally:
            if peer in self._callers:
                self._callers.leave(peer)
                self._called_in_vain.pop(peer, None)
                self._called_in_vain[peer] = trio.current_time() + REFUSED_RETRY_S
                if len(self._called_in_vain) > MAX_REMEMBERED:
                    del self._called_in_vain[next(iter(self._called_in_vain))]
            over.set()

    def hire(self, peer: PeerId) -> bool:
        """Records that the peer takes the job. Returns whether there is still a place for it."""
        if len(self.engaged) >= self._most:
            return False
        self._callers.leave(peer)
        self._vacancies.found(peer, self)
        self._left_line(peer)
        self.engaged.add(peer)
        if len(self.engaged) == self._most:
            for other in self.lines:
                self._talking[other].cancel()  # other owners can use the place in line
        return True

    def dismiss(self, peer: PeerId) -> None:
        """Records that the peer is no longer at work."""
        self.engaged.discard(peer)
        self._sooner.set()
        self._vacancies.left(peer)

    def _left_line(self, peer: PeerId) -> None:
        if self.lines.pop(peer, None) is not None:
            self._vacancies.left(peer)

    async def _dial(self, hint: PeerHint) -> None:
        try:
            connection = await self._deps.presence.contacts.dial(hint.address, hint.peer_id)
        except PeerError as error:
            logger.debug("volunteer at %s: %s", hint.address, error)
            if hint in self._peers:
                self._failures[hint] = str(error)
            return
        self._failures.pop(hint, None)
        if len(self._hint_of) < MAX_REMEMBERED:
            self._hint_of[connection.ends.peer_id] = hint
        await self._talk(connection)

    async def _talk(self, connection: Connection) -> None:
        """Holds the conversation with a peer that may be a volunteer, until it ends."""
        peer = connection.ends.peer_id
        try:
            if peer in self._talking:
                return
            with trio.CancelScope() as self._talking[peer]:
                try:
                    self._refusals.pop(peer, None)
                    self._left_out.pop(peer, None)
                    async with conversation(connection):
                        await self._engage(connection)
                finally:
                    scope = self._talking.pop(peer)
                    self._left_line(peer)
            if scope.cancelled_caught and peer in self._hint_of:
                self._tried.pop(self._hint_of[peer], None)  # it did not refuse
        except PeerError as error:
            logger.debug("volunteer %s: %s", short(peer), error)
            self._refused(peer, str(error), self._left_out if isinstance(error, LeftOut) else self._refusals)
        finally:
            connection.close()

    def _refused(self, peer: PeerId, reason: str, among: dict[PeerId, str]) -> None:
        """Records that the peer refused the job, has stopped working on it, or was left out of it."""
        self._offers.setdefault(peer, VolunteerOffer(1, self._need.memory, frozenset({self._need.runtime})))
        if len(among) < MAX_REMEMBERED:
            among.setdefault(peer, reason)

    async def _look_up(self) -> None:
        """Looks up volunteers in the background, so that a slow tracker does not delay those that are already known."""
        while True:
            await RECRUITING.contain(self._look_up_once)
            await trio.sleep(FIND_INTERVAL_S)

    async def _look_up_once(self) -> None:
        found = await self._deps.discovery.volunteers.known(self._need.runtime)
        for one in found:
            if len(self._offers) < MAX_REMEMBERED or one.peer in self._offers:
                self._offers[one.peer] = _offer(one.capacity)
        self._found = [PeerHint(one.address, one.peer) for one in found if one.address is not None]
        self._unreachable = {one.peer for one in found} - {hint.peer_id for hint in self._found}
        self._sooner.set()

    def _hints(self) -> list[PeerHint]:
        hints = [*self._found, *self._deps.discovery.neighbours.hints()]
        # A link-local address is only used if there is no other.
        better = {hint.peer_id for hint in hints if not is_link_local(hint.address.host)}
        return [
            *self._peers,
            *(hint for hint in hints if not is_link_local(hint.address.host) or hint.peer_id not in better),
        ]

    async def _watch_neighbours(self) -> None:
        while True:
            await self._deps.discovery.neighbours.changed()
            self._sooner.set()


def _offer(offered: Capacity) -> VolunteerOffer:
    return VolunteerOffer(offered.cores, offered.memory, frozenset(offered.runtimes))
