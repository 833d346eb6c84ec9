"""Where an owner's volunteers come from: named peers, the local network, trackers, the DHT; and why none came.

Whoever is found is dialled and offered the job by the owner's `engage`; a peer that refused or was lost is asked again
a little later, for as long as the job lasts.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from p2p.core.matching import Need, Offer, why_nothing_runs
from p2p.errors import NotFound, PeerError, ProtocolViolation
from p2p.ids import PeerId, short
from p2p.net.connection import Connection
from p2p.services.local import Local
from p2p.wire import records, work
from p2p.wire.address import Address
from p2p.wire.link import PeerHint
from p2p.wire.records import MAX_SHARDS, Kind, Record, capacity_key
from p2p.wire.tracker import Capacity

logger = logging.getLogger(__name__)

FIND_EVERY_S = 3.0
FULL_SHARD = 32
"""With so many volunteers in a shard there may be more in the next."""
REFUSED_AGAIN_S = 10.0
MOST_VOLUNTEERS = 256
SURVEY_S = 1.5
MOST_SURVEYED = 32
MOST_REMEMBERED = 4096


class Recruiter:
    """Finds volunteers for one job. `engage` has the whole conversation with one; `refused` takes what one said."""

    def __init__(
        self,
        local: Local,
        need: Need,
        peers: Sequence[PeerHint],
        most: int,
        engage: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self._local = local
        self._need = need
        self._peers = peers
        self._most = most or MOST_VOLUNTEERS
        self._engage = engage
        self._offers: dict[PeerId, Offer] = {}
        self._refusals: dict[PeerId, str] = {}
        self._talking: set[PeerId] = set()
        self.engaged: set[PeerId] = set()
        """Whom `engage` has at work."""

    async def run(self) -> None:
        """Looks for volunteers, and talks with them, until cancelled."""
        tried: dict[PeerHint, float] = {}
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                tried = {hint: again for hint, again in tried.items() if again > now}
                for hint in await self._hints():
                    known = hint.peer_id in self._talking or hint.peer_id == self._local.peer_id
                    if not known and hint not in tried and len(self._talking) < self._most:
                        tried[hint] = now + REFUSED_AGAIN_S
                        nursery.start_soon(self._dial, hint)
                await trio.sleep(FIND_EVERY_S)

    def refused(self, peer: PeerId, reason: str) -> None:
        """It does not work for the job, and says why."""
        self._offers.setdefault(peer, Offer(1, self._need.memory, frozenset({self._need.runtime})))
        self._remember(peer, reason)

    def why(self) -> str:
        """Why nobody is at work; empty if somebody could be."""
        return why_nothing_runs(self._need, self._offers, self._refusals)

    async def _dial(self, hint: PeerHint) -> None:
        try:
            connection = await self._local.dialer.dial(hint.address, hint.peer_id)
        except PeerError as error:
            logger.debug("volunteer at %s: %s", hint.address, error)
            return
        await self.talk(connection)

    async def talk(self, connection: Connection) -> None:
        """The conversation with a peer that may be a volunteer, to its end."""
        peer = connection.ends.peer_id
        try:
            if peer in self._talking:
                return
            self._talking.add(peer)
            try:
                self._refusals.pop(peer, None)
                await self._engage(connection)
            finally:
                self._talking.discard(peer)
        except PeerError as error:
            logger.debug("volunteer %s: %s", short(peer), error)
            self._remember(peer, str(error))
        finally:
            connection.close()

    def _remember(self, peer: PeerId, reason: str) -> None:
        if len(self._refusals) < MOST_REMEMBERED:
            self._refusals.setdefault(peer, reason)

    async def _hints(self) -> list[PeerHint]:
        found = dict(await volunteers_known(self._local, self._need.runtime))
        for hint, capacity in found.items():
            if hint.peer_id is not None and len(self._offers) < MOST_REMEMBERED:
                self._offers[hint.peer_id] = Offer(capacity.cores, capacity.memory, frozenset(capacity.runtimes))
        return [*self._peers, *self._local.neighbours.hints(), *found]


async def volunteers_known(local: Local, runtime: str) -> list[tuple[PeerHint, Capacity]]:
    """Volunteers that trackers and the DHT know, and what they offer."""
    found: list[tuple[PeerHint, Capacity]] = []
    async with trio.open_nursery() as nursery:

        async def of_tracker(url: str) -> None:
            with suppress(PeerError, NotFound):
                found.extend(await local.trackers.volunteers(url, runtime))

        for url in local.trackers.urls:
            nursery.start_soon(of_tracker, url)
        found += await _of_overlays(local, runtime)
    return found


async def _of_overlays(local: Local, runtime: str) -> list[tuple[PeerHint, Capacity]]:
    overlays = local.overlays
    if overlays is None or not overlays.joined.is_set():
        return []
    found: dict[PeerId, Record] = {}
    with trio.move_on_after(FIND_EVERY_S):
        for shard in range(MAX_SHARDS):
            more = await overlays.get(capacity_key(runtime, shard), Kind.CAPACITY)
            found |= more
            if len(more) < FULL_SHARD:
                break
    volunteers: list[tuple[PeerHint, Capacity]] = []
    for peer, record in found.items():
        assert isinstance(record.payload, records.Offer)
        for host, port in record.payload.addresses:
            if overlays.is_plausible(host):
                volunteers.append((PeerHint(Address(host, port), peer), record.payload.capacity))
    return volunteers


async def survey(local: Local, peers: Sequence[PeerHint], runtimes: Sequence[str]) -> list[frozenset[str]]:
    """The runtimes that each of the volunteers found has; asked for no longer than a moment."""
    offers: dict[PeerId, frozenset[str]] = {}
    with trio.move_on_after(SURVEY_S):
        async with trio.open_nursery() as nursery:

            async def look_up(runtime: str) -> None:
                for hint, capacity in await volunteers_known(local, runtime):
                    if hint.peer_id is not None:
                        offers[hint.peer_id] = frozenset(capacity.runtimes)

            async def ask(hint: PeerHint) -> None:
                with suppress(PeerError):
                    peer, capacity = await ask_capacity(local, hint)
                    if capacity is not None:
                        offers[peer] = frozenset(capacity.runtimes)

            for runtime in runtimes:
                nursery.start_soon(look_up, runtime)
            for hint in (*peers, *local.neighbours.hints())[:MOST_SURVEYED]:
                nursery.start_soon(ask, hint)
    return list(offers.values())


async def ask_capacity(local: Local, hint: PeerHint) -> tuple[PeerId, Capacity | None]:
    """What a peer offers. Raises PeerError."""
    connection = await local.dialer.dial(hint.address, hint.peer_id)
    try:
        await connection.send(work.GetCapacity())
        answer = await connection.receive()
    finally:
        connection.close()
    if not isinstance(answer, work.CapacityIs):
        raise ProtocolViolation("something else where its capacity belongs")
    return connection.ends.peer_id, answer.capacity
