"""Finds the computing power offered in the network, by asking trackers, the DHT and the volunteers themselves."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import trio

from p2p.discovery.dht import Overlays, keep_newest
from p2p.discovery.neighbours import Neighbours
from p2p.discovery.questions import QUESTION
from p2p.discovery.trackers import Candidate, Trackers
from p2p.errors import NotFound, PeerError, ProtocolViolation
from p2p.ids import PeerId
from p2p.net.dialer import Dialer
from p2p.wire import records, work
from p2p.wire.address import Address
from p2p.wire.link import PeerHint
from p2p.wire.records import Record, RecordKind, capacity_key, shards
from p2p.wire.tracker import Capacity

LOOK_UP_TIMEOUT_S = 3.0
"""How long a lookup in the DHT may take. What has not come within this time is found the next time."""
SURVEY_TIMEOUT_S = 1.5
MAX_SURVEYED = 32


class Volunteers:
    """Finds volunteers in the network, for this peer."""

    def __init__(self, dialer: Dialer, trackers: Trackers, overlays: Overlays, neighbours: Neighbours) -> None:
        self._dialer = dialer
        self._trackers = trackers
        self._overlays = overlays
        self._neighbours = neighbours

    async def known(self, runtime: str) -> list[Candidate]:
        """The volunteers that trackers and the DHT know, and what they offer."""
        found: list[Candidate] = []
        async with trio.open_nursery() as nursery:

            async def of_tracker(url: str) -> None:
                with suppress(PeerError, NotFound):
                    found.extend(await self._trackers.volunteers(url, runtime))

            for url in self._trackers.urls:
                nursery.start_soon(QUESTION.absorb, of_tracker, url)
            found += await self._of_overlays(runtime)
        return found

    async def _of_overlays(self, runtime: str) -> list[Candidate]:
        overlays = self._overlays
        if not overlays.joined.is_set():
            return []
        found: dict[PeerId, Record] = {}
        with trio.move_on_after(LOOK_UP_TIMEOUT_S):
            await overlays.walk(shards(capacity_key, runtime), RecordKind.CAPACITY, partial(keep_newest, found))
        volunteers: list[Candidate] = []
        for peer, record in found.items():
            assert isinstance(record.payload, records.OfferedCapacity)
            capacity, named = record.payload.capacity, record.payload.addresses
            if not named:
                volunteers.append(Candidate(peer, None, capacity))
            volunteers += [
                Candidate(peer, Address(host, port), capacity) for host, port in named if overlays.is_plausible(host)
            ]
        return volunteers

    async def survey(self, peers: Sequence[PeerHint], runtimes: Sequence[str]) -> list[Capacity]:
        """Asks the volunteers that are found what each of them offers. Takes `SURVEY_TIMEOUT_S` at most."""
        offers: dict[PeerId, Capacity] = {}
        with trio.move_on_after(SURVEY_TIMEOUT_S):
            async with trio.open_nursery() as nursery:

                async def look_up(runtime: str) -> None:
                    for one in await self.known(runtime):
                        offers[one.peer] = one.capacity

                async def ask(hint: PeerHint) -> None:
                    with suppress(PeerError):
                        peer, capacity = await self._ask(hint)
                        if capacity is not None:
                            offers[peer] = capacity

                for runtime in runtimes:
                    nursery.start_soon(QUESTION.absorb, look_up, runtime)
                for hint in (*peers, *self._neighbours.hints())[:MAX_SURVEYED]:
                    nursery.start_soon(QUESTION.absorb, ask, hint)
        return list(offers.values())

    async def _ask(self, hint: PeerHint) -> tuple[PeerId, Capacity | None]:
        """Asks a peer what it offers. Raises PeerError."""
        connection = await self._dialer.dial(hint.address, hint.peer_id)
        try:
            await connection.send(work.GetCapacity())
            answer = await connection.receive()
        finally:
            connection.close()
        if not isinstance(answer, work.CapacityIs):
            raise ProtocolViolation("something else where its capacity belongs")
        return connection.ends.peer_id, answer.capacity
