"""What computing power is offered in the network: as trackers and the DHT tell, and as volunteers say themselves."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import trio

from p2p.discovery.dht import keep_newest
from p2p.discovery.trackers import Candidate
from p2p.errors import NotFound, PeerError, ProtocolViolation
from p2p.ids import PeerId
from p2p.peer_context import Local
from p2p.wire import records, work
from p2p.wire.address import Address
from p2p.wire.link import PeerHint
from p2p.wire.records import Kind, Record, capacity_key, shards
from p2p.wire.tracker import Capacity

LOOK_UP_S = 3.0
"""In the DHT; what has not come by then comes the next time."""
SURVEY_S = 1.5
MOST_SURVEYED = 32


async def known(local: Local, runtime: str) -> list[Candidate]:
    """Volunteers that trackers and the DHT know, and what they offer."""
    found: list[Candidate] = []
    async with trio.open_nursery() as nursery:

        async def of_tracker(url: str) -> None:
            with suppress(PeerError, NotFound):
                found.extend(await local.trackers.volunteers(url, runtime))

        for url in local.trackers.urls:
            nursery.start_soon(of_tracker, url)
        found += await _of_overlays(local, runtime)
    return found


async def _of_overlays(local: Local, runtime: str) -> list[Candidate]:
    overlays = local.overlays
    if overlays is None or not overlays.joined.is_set():
        return []
    found: dict[PeerId, Record] = {}
    with trio.move_on_after(LOOK_UP_S):
        await overlays.walk(shards(capacity_key, runtime), Kind.CAPACITY, partial(keep_newest, found))
    volunteers: list[Candidate] = []
    for peer, record in found.items():
        assert isinstance(record.payload, records.Offer)
        capacity, named = record.payload.capacity, record.payload.addresses
        if not named:
            volunteers.append(Candidate(peer, None, capacity))
        volunteers += [
            Candidate(peer, Address(host, port), capacity) for host, port in named if overlays.is_plausible(host)
        ]
    return volunteers


async def survey(local: Local, peers: Sequence[PeerHint], runtimes: Sequence[str]) -> list[Capacity]:
    """What each of the volunteers found offers; asked for no longer than a moment."""
    offers: dict[PeerId, Capacity] = {}
    with trio.move_on_after(SURVEY_S):
        async with trio.open_nursery() as nursery:

            async def look_up(runtime: str) -> None:
                for one in await known(local, runtime):
                    offers[one.peer] = one.capacity

            async def ask(hint: PeerHint) -> None:
                with suppress(PeerError):
                    peer, capacity = await _ask(local, hint)
                    if capacity is not None:
                        offers[peer] = capacity

            for runtime in runtimes:
                nursery.start_soon(look_up, runtime)
            for hint in (*peers, *local.neighbours.hints())[:MOST_SURVEYED]:
                nursery.start_soon(ask, hint)
    return list(offers.values())


async def _ask(local: Local, hint: PeerHint) -> tuple[PeerId, Capacity | None]:
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
