"""Finds owners and calls them, for a volunteer that cannot be dialled.

Work for a runtime is treated like a share (`records.hiring_key`) that the volunteer has and owners lack, so owners are
found like peers that lack chunks. The volunteer calls them (`p2p.reach.calls`), sends `VolunteerCall`, and is offered a
job.
"""

import logging
from random import Random

import trio

from p2p.advertising.adverts import Advert
from p2p.advertising.seekers import caller
from p2p.compute.volunteer.deps import Deps
from p2p.compute.volunteer.volunteering import Volunteering
from p2p.concurrency.walls import Wall
from p2p.core.dht import publications
from p2p.discovery.discovery import Discovery
from p2p.errors import PeerError, PeerGone, ProtocolViolation, Refused
from p2p.ids import PeerId, short
from p2p.net.conversation import conversation
from p2p.reach.calls import Calls
from p2p.wire import messages, work
from p2p.wire.address import Address
from p2p.wire.records import RecordKind, hiring_key, shards
from p2p.wire.tracker import Provided, key_text

logger = logging.getLogger(__name__)

SEARCH = Wall("search for owners")

MAX_CALLS = 8
"""The most calls at a time, at most half of them to one network: owners without an offer must not keep a volunteer from
the others.
"""
NEXT_JOB_PAUSE_S = 0.5
OFFER_TIMEOUT_S = 15.0
LOOK_INTERVAL_S = 10.0
MIN_LOOK_INTERVAL_S = 3.0
ASK_INTERVAL_S = 2.0
"""How often neighbours are asked. One that refuses is called at growing intervals."""
NEIGHBOURS_AT_ONCE = 16

WORK = b"work"
"""The subject of all calls, whatever the runtime."""


class WorkCalls:
    """The `Subject` of a volunteer's calls to owners (`p2p.reach.calls`), and the advert by which owners are found."""

    most = MAX_CALLS

    def __init__(self, deps: Deps, volunteering: Volunteering) -> None:
        self._deps = deps
        self._volunteering = volunteering

    def runtimes(self) -> tuple[str, ...]:
        """The runtimes for which this peer would call owners; none if owners can dial it."""
        if not self._deps.presence.is_out_of_reach:
            return ()
        capacity = self._volunteering.capacity()
        return () if capacity is None else capacity.runtimes

    @property
    def is_free(self) -> bool:
        """Whether this peer would call an owner now."""
        return bool(self.runtimes()) and self._volunteering.has_room

    def advert(self) -> Advert:
        """The advert of this volunteer."""
        capacity = self._volunteering.capacity()
        return Advert(
            keys=tuple(Provided(key_text(hiring_key(runtime))) for runtime in self.runtimes()),
            capacity=capacity,
            items=() if capacity is None else tuple(publications.capacity_items(capacity)),
        )

    async def resolve(self, named: bytes) -> bytes | None:
        """Returns `WORK` if the key stands for owners that look for volunteers like this peer; otherwise None."""
        return WORK if any(named == hiring_key(runtime) for runtime in self.runtimes()) else None

    def is_wanted(self, about: bytes, peer: PeerId) -> bool:
        """Whether this peer has a core to give."""
        return self.is_free

    async def call(self, address: Address, peer: PeerId, about: bytes) -> bool:
        """Works for an owner, one job after another, as long as the owner has a job and a core is free.

        Returns whether a unit was done. Raises PeerError; Refused if the owner has no job for this peer.
        """
        worked = False
        try:
            while self.is_free and await self._work(address, peer):
                worked = True
                await trio.sleep(NEXT_JOB_PAUSE_S)
        except PeerError as error:
            if not worked:
                raise
            logger.debug("called %s for work: %s", short(peer), error)
        if worked:
            self._deps.changes.ring()  # its cores are free for other owners
        return worked

    async def _work(self, address: Address, owner: PeerId) -> bool:
        """Dials an owner, and works on the job that it offers until that ends.

        Returns whether a unit of the job was done.
        """
        volunteering = self._volunteering
        connection = await self._deps.presence.contacts.dial(address, owner)
        try:
            await connection.send(work.VolunteerCall(capacity=volunteering.capacity()))
            with trio.move_on_after(OFFER_TIMEOUT_S) as patience:
                offer = await connection.receive()
            if patience.cancelled_caught:
                raise PeerGone("it offers nothing")
            match offer:
                case work.JobOffer():
                    before = volunteering.units_done
                    async with conversation(connection):
                        await volunteering.converse(connection, offer)
                    return volunteering.units_done > before
                case work.JobRefused(reason) | messages.Failed(reason):
                    raise Refused(f"it has no work: {reason}")
                case _:
                    raise ProtocolViolation("something else where an offer belongs")
        finally:
            connection.close()


class OwnerSearch:
    """Arranges calls to owners found in the DHT and in the local network, while this peer cannot be dialled.

    Trackers name owners in their answers to announces.
    """

    def __init__(self, deps: Deps, work_calls: WorkCalls, calls: Calls, discovery: Discovery, random: Random) -> None:
        self._deps = deps
        self._work_calls = work_calls
        self._calls = calls
        self._discovery = discovery
        self._random = random

    async def run(self) -> None:
        """Looks for owners until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(SEARCH.keep, self._ask_neighbours, self._random)
            if self._discovery.overlays.is_on:
                nursery.start_soon(SEARCH.keep, self._look_in_overlays, self._random)

    async def _ask_neighbours(self) -> None:
        """Calls all neighbours, at growing intervals, because they do not say whether they have work.

        Does not call them if only distant peers cannot dial this one.
        """
        neighbours, reachability = self._discovery.neighbours, self._deps.presence.reachability
        while True:
            if reachability.never and self._work_calls.is_free:
                hints, key = neighbours.hints(), hiring_key(self._work_calls.runtimes()[0])
                for hint in self._random.sample(hints, min(NEIGHBOURS_AT_ONCE, len(hints))):
                    if hint.peer_id is not None:
                        self._calls.wanted(key, hint.peer_id, hint.address)
            with trio.move_on_after(ASK_INTERVAL_S):
                await neighbours.changed()

    async def _look_in_overlays(self) -> None:
        overlays, changes = self._discovery.overlays, self._deps.changes
        await overlays.joined.wait()
        while True:
            news = changes.count
            if self._work_calls.is_free:
                async with trio.open_nursery() as nursery:
                    for runtime in self._work_calls.runtimes():
                        heard = caller(self._calls, overlays, self._deps.presence.peer_id, hiring_key(runtime))
                        nursery.start_soon(overlays.walk, shards(hiring_key, runtime), RecordKind.PROVIDER, heard)
            with trio.move_on_after(LOOK_INTERVAL_S * (0.8 + 0.4 * self._random.random())):
                await trio.sleep(MIN_LOOK_INTERVAL_S)
                await changes.after(news)
