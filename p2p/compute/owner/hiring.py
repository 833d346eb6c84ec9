"""Hiring: how owners and volunteers come together of whom one cannot be dialled.

A volunteer that cannot be dialled is told of owners as if the work for a runtime were a share (`records.hiring_key`):
it has it, they lack it. It calls them (`calling`), says `Volunteering`, and is offered a job. An owner that cannot be
dialled calls its volunteers about the shares of its job, when they say that they fetch them.
"""

from collections.abc import Sequence

import trio

from p2p.advertising.seekers import caller
from p2p.discovery.dht import Overlays
from p2p.errors import PeerGone, ProtocolViolation, Refused
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.peer_context import Local
from p2p.reach.reachability import Reach
from p2p.wire import messages, work
from p2p.wire.address import Address, is_host
from p2p.wire.records import Kind, hiring_key, shards
from p2p.wire.tracker import Provided, key_text

OFFER_S = 15.0
LOOK_EVERY_S = 10.0
COOL_S = 3.0
ASK_EVERY_S = 2.0
"""Of neighbours; each is called as seldom as its refusals tell."""
NEIGHBOURS_AT_ONCE = 16
ASK_AGAIN_S = 5.0


# What others are told.


def looks_for(local: Local) -> frozenset[str]:
    """The runtimes for which this peer has jobs under way; none where it could not be called."""
    if local.reachability.state is Reach.NOT_DIALABLE:
        return frozenset()
    return frozenset(underway.view.runtime for underway in local.jobs.values())


def offers(local: Local) -> tuple[str, ...]:
    """The runtimes for which this peer would call owners; none where they can dial it."""
    if local.volunteering is None or local.reachability.state is not Reach.NOT_DIALABLE:
        return ()
    capacity = local.volunteering.capacity()
    return () if capacity is None else capacity.runtimes


def announced(local: Local) -> list[Provided]:
    """What trackers are told: they answer those who have a key with those who lack it."""
    sought = looks_for(local)
    return [Provided(key_text(hiring_key(runtime)), whole=False) for runtime in sorted(sought)] + [
        Provided(key_text(hiring_key(runtime))) for runtime in offers(local) if runtime not in sought
    ]


# The volunteer's side.


async def look_for_owners(local: Local) -> None:
    """Has owners called of whom the DHT and the local network know, while this peer cannot be dialled. Until cancelled.

    Trackers tell with their answers to announces.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask_neighbours, local)
        if local.overlays is not None:
            nursery.start_soon(_look_in_overlays, local, local.overlays)


async def _ask_neighbours(local: Local) -> None:
    """They do not say whether they have work: all are called, ever less often. They can dial who is only out of reach
    from far away.
    """
    while True:
        if local.reachability.never and is_free(local):
            hints, key = local.neighbours.hints(), hiring_key(offers(local)[0])
            for hint in local.random.sample(hints, min(NEIGHBOURS_AT_ONCE, len(hints))):
                if hint.peer_id is not None:
                    local.calls.wanted(key, hint.peer_id, hint.address)
        with trio.move_on_after(ASK_EVERY_S):
            await local.neighbours.changed()


async def _look_in_overlays(local: Local, overlays: Overlays) -> None:
    await overlays.joined.wait()
    while True:
        news = local.news.count
        if is_free(local):
            async with trio.open_nursery() as nursery:
                for runtime in offers(local):
                    heard = caller(local, overlays, hiring_key(runtime))
                    nursery.start_soon(overlays.walk, shards(hiring_key, runtime), Kind.PROVIDER, heard)
        with trio.move_on_after(LOOK_EVERY_S * (0.8 + 0.4 * local.random.random())):
            await trio.sleep(COOL_S)
            await local.news.after(news)


def is_hiring_key(local: Local, key: bytes) -> bool:
    """Whether those who lack what is behind the key look for volunteers like this peer."""
    return any(key == hiring_key(runtime) for runtime in offers(local))


def is_free(local: Local) -> bool:
    """Whether this peer would call an owner now."""
    return bool(offers(local)) and local.volunteering is not None and local.volunteering.has_room


async def call(local: Local, address: Address, owner: PeerId) -> bool:
    """Dials an owner, and works on the job that it offers to its end; whether a unit of it was done.

    Raises PeerError; Refused where it has no job for this peer.
    """
    volunteering = local.volunteering
    assert volunteering is not None
    connection = await local.dialer.dial(address, owner)
    try:
        local.contacts.reached(connection, address.port)
        await connection.send(work.Volunteering(capacity=volunteering.capacity()))
        with trio.move_on_after(OFFER_S) as patience:
            offer = await connection.receive()
        if patience.cancelled_caught:
            raise PeerGone("it offers nothing")
        match offer:
            case work.JobOffer():
                before = volunteering.units_done
                await volunteering.converse(connection, offer)
                return volunteering.units_done > before
            case work.JobRefused(reason) | messages.Failed(reason):
                raise Refused(f"it has no work: {reason}")
            case _:
                raise ProtocolViolation("something else where an offer belongs")
    finally:
        connection.close()


async def ask_for_calls(local: Local, connection: Connection, shares: Sequence[ShareId], *, at_once: bool) -> None:
    """Has the owner call about those of the shares that are fetched, while it gives nothing of them. Until cancelled.

    `at_once`: it cannot be dialled; else only if it was dialled in vain for a while. Raises PeerError.
    """
    owner = connection.ends.peer_id
    due: dict[ShareId, float] = {}
    while True:
        news, now = local.news.count, trio.current_time()
        for share in shares:
            swarm = local.swarms.get(share)
            if share not in local.wanted or (swarm is not None and owner in swarm.members):
                due.pop(share, None)
            elif due.setdefault(share, now if at_once else now + ASK_AGAIN_S) <= now:
                due[share] = now + ASK_AGAIN_S
                await connection.send(messages.DialMe(share=share))
        with trio.move_on_after(ASK_AGAIN_S):
            await local.news.after(news)


# The owner's side.


async def offer_job(local: Local, connection: Connection, asking: work.Volunteering) -> bool:
    """Offers one of the jobs under way to a volunteer that dialled, and has it work; whether one wanted it."""
    wanting = [
        underway.run.recruiter
        for job, underway in local.jobs.items()
        if asking.job in {b"", job} and underway.run.recruiter.wants(connection.ends, asking.capacity)
    ]
    if not wanting:
        await connection.send(work.JobRefused("no job wants volunteers"))
        return False
    await min(wanting, key=lambda recruiter: len(recruiter.engaged)).take(connection)
    return True


def serving_port(local: Local, connection: Connection) -> int:
    """The port at which the peer at the other end can dial this one, as far as is known; 0 if it cannot."""
    port, seen_host = local.dialer.port, connection.ends.hello.seen_host
    told = not is_host(seen_host) or local.reachability.advertised([Address(seen_host, port)])
    return port if told else 0
