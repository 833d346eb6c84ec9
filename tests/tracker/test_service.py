"""Who may announce what, who is told what: the service, with a clock in hand and real peers to dial."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from p2p.errors import MalformedMessage, NotFound, Refused
from p2p.ids import PeerId
from p2p.net.dialer import Dialer
from p2p.net.http_server.refusals import TooMuch
from p2p.wire.tracker import Announced, Capacity, key_from_text, sign_announce
from tests.support.announces import HOST, NETWORK, URL, Announcer, key, listing, peer_id, provided, share
from tests.support.world import World
from tracker.changes import Conflict
from tracker.database import Database
from tracker.dialback import DialBack, DialTarget
from tracker.limits import Limits
from tracker.service import CALLED_INTERVAL_S, INTERVAL_S, PENDING_INTERVAL_S, Service

STRANGER = "198.51.100.9"
Start = Callable[..., Awaitable[Service]]


class Clock:
    """Wall time, in hand."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def start(database: Database, dialer: Dialer, clock: Clock, nursery: trio.Nursery) -> Start:
    async def start(*, strict: bool = False, **limits: Any) -> Service:
        service = Service(database, dialer, url=URL, strict=strict, limits=Limits(**limits), clock=clock)
        await nursery.start(service.run)
        return service

    return start


@pytest.fixture
async def service(start: Start) -> Service:
    return await start()


async def test_what_is_announced_is_found(service: Service) -> None:
    peer = Announcer(service)
    first = await peer.tell(add=(listing(1, "Field recordings", "sea/gulls.flac"),), port=0)
    assert (first.sequence, first.shares, first.dialable) == (1, 1, False)
    assert first.seen_host == peer.host
    [found] = (await service.search("gulls", asker=STRANGER)).results
    assert (found.name, found.matched, found.sources, found.signer) == (
        "Field recordings",
        "sea/gulls.flac",
        1,
        peer.text,
    )
    view = await service.share(share(1), STRANGER)
    assert [source.peer for source in view.sources] == [peer.text]
    assert view.found.link == found.link
    assert (await service.sources(key_from_text(key(1)), STRANGER)).total == 1
    await peer.tell(drop=(key(1),))
    assert (await service.search("gulls", asker=STRANGER)).results == ()
    with pytest.raises(NotFound):
        await service.share(share(1), STRANGER)


async def test_an_unlisted_share_is_found_by_its_key_alone(service: Service) -> None:
    await Announcer(service).tell(provide=(provided(1),))
    assert (await service.sources(key_from_text(key(1)), STRANGER)).total == 1
    assert (await service.search("", asker=STRANGER)).results == ()
    with pytest.raises(NotFound):
        await service.share(share(1), STRANGER)


async def test_an_announce_that_builds_on_nothing_known_is_a_conflict(service: Service) -> None:
    peer = Announcer(service)
    assert await peer.say(reset=False, previous=5, sequence=9) == Conflict(0)
    await peer.tell(sequence=20)
    assert await peer.say(reset=False, previous=19, sequence=30) == Conflict(20)
    assert await peer.say(reset=True, sequence=20) == Conflict(20)


async def test_announces_expire_together(service: Service, clock: Clock) -> None:
    peer = Announcer(service)
    await peer.tell(add=(listing(1, "fleeting"),), expires_s=60, capacity=Capacity(("wasm",), 1, 1))
    clock.now += 50
    await peer.tell(expires_s=60, capacity=Capacity(("wasm",), 1, 1))
    clock.now += 59
    await service.tidy()
    assert (await service.search("fleeting", asker=STRANGER)).total == 1
    clock.now += 2
    assert (await service.volunteers(asker=STRANGER)).total == 0  # even before anything is tidied
    assert (await service.sources(key_from_text(key(1)), STRANGER)).total == 0
    await service.tidy()
    assert (await service.search("fleeting", asker=STRANGER)).total == 0
    assert await peer.say() == Conflict(2)


async def test_good_bye(service: Service) -> None:
    peer = Announcer(service)
    await peer.tell(add=(listing(1, "fleeting"),))
    await peer.tell(bye=True)
    await service.tidy()
    assert (await service.search("fleeting", asker=STRANGER)).total == 0


async def test_what_was_said_to_another_tracker_or_network_is_refused(start: Start) -> None:
    service = await start()
    peer = Announcer(service)
    with pytest.raises(Refused, match="another tracker"):
        await peer.say(tracker="http://elsewhere.test/")
    with pytest.raises(Refused, match="network"):
        await peer.say(network="other")
    for nonsense in ("nonsense", "http://[", "http://host:99999", "\u0130://x"):
        with pytest.raises((Refused, MalformedMessage)):
            await peer.say(tracker=nonsense)
        with pytest.raises((Refused, MalformedMessage)):
            await peer.say(reached_by=nonsense)
    await peer.tell(tracker="http://192.0.2.1:8750", reached_by="192.0.2.1:8750")
    await peer.tell(tracker="https://proxied.test", reached_by="PROXIED.test")


async def test_a_tracker_with_a_url_takes_announces_for_this_url_only(start: Start) -> None:
    service = await start(strict=True)
    peer = Announcer(service)
    with pytest.raises(Refused, match="another tracker"):
        await peer.say(tracker="http://192.0.2.1:8750", reached_by="192.0.2.1:8750")
    await peer.tell(tracker=URL + "/", reached_by="192.0.2.1:8750")


async def test_a_false_signature_is_refused(service: Service) -> None:
    peer, other = Announcer(service), Announcer(service)
    body, headers = sign_announce(peer.announce(), peer.identity)
    for text, signature in (
        (other.text, headers["shoal-signature"]),
        (peer.text, "AAAA"),
        (peer.text, ""),
        ("", headers["shoal-signature"]),
        ("é" * 52, headers["shoal-signature"]),
    ):
        with pytest.raises(MalformedMessage):
            await service.announce(body, text, signature, host=peer.host, reached_by=HOST)
    with pytest.raises(MalformedMessage):
        await service.announce(body + b" ", peer.text, headers["shoal-signature"], host=peer.host, reached_by=HOST)


async def test_an_address_is_held_to_its_rate_before_any_signature_is_looked_at(start: Start) -> None:
    service = await start(announce_burst=3, announce_rate=0.01)
    for _ in range(3):
        with pytest.raises(MalformedMessage):
            await service.announce(b"", "", "", host="2001:db8::1", reached_by=HOST)
    with pytest.raises(TooMuch) as raised:
        await service.announce(b"", "", "", host="2001:db8::2", reached_by=HOST)  # of the same /64
    assert raised.value.retry_s >= 1
    with pytest.raises(MalformedMessage):
        await service.announce(b"", "", "", host="2001:db8:0:1::1", reached_by=HOST)


async def test_a_peer_is_held_to_its_rate_wherever_it_comes_from(start: Start) -> None:
    service = await start(peer_burst=3, peer_rate=0.01)
    peer = Announcer(service)
    await peer.tell(provide=tuple(provided(number) for number in range(100)))  # counts as two
    peer.host = STRANGER
    await peer.tell()
    with pytest.raises(TooMuch):
        await peer.say()


async def test_too_many_peers_of_one_address(start: Start) -> None:
    service = await start(peers_per_address=1)
    await Announcer(service).tell()
    with pytest.raises(TooMuch, match="1 peers announce"):
        await Announcer(service).say()
    await Announcer(service, STRANGER).tell()


async def until(service: Service, peer: Announcer, **said: Any) -> Announced:
    """What the peer is told once its dial-back has ended."""
    for _ in range(200):
        answer = await peer.tell(**said)
        if answer.dialable is not None:
            return answer
        assert answer.interval_s == PENDING_INTERVAL_S
        await trio.sleep(0.02)
    raise AssertionError("no dial-back has ended")


async def test_an_address_is_told_once_it_is_proven_and_only_to_those_it_is_for(service: Service, world: World) -> None:
    local = await world.peer("listening", network={"name": NETWORK})
    peer = Announcer(service, "127.0.0.1")
    peer.identity = local.dialer.identity
    said = await peer.tell(add=(listing(1),), port=local.dialer.port, capacity=Capacity(("wasm",), 1, 1))
    assert (said.dialable, said.interval_s) == (None, PENDING_INTERVAL_S)
    told = await until(service, peer, port=local.dialer.port, capacity=Capacity(("wasm",), 1, 1))
    assert (told.dialable, told.interval_s) == (True, INTERVAL_S)
    [source] = (await service.sources(key_from_text(key(1)), "127.0.0.1")).sources
    assert (source.dialable, source.address) == (True, f"127.0.0.1:{local.dialer.port}")
    for stranger in (STRANGER, "10.0.0.1", "2001:db8::1"):
        [source] = (await service.sources(key_from_text(key(1)), stranger)).sources
        assert (source.dialable, source.address) == (True, None)
        [volunteer] = (await service.volunteers(asker=stranger)).volunteers
        assert volunteer.address is None
    [volunteer] = (await service.volunteers(asker="127.0.0.1")).volunteers
    assert volunteer.address == f"127.0.0.1:{local.dialer.port}"
    assert (await service.peer(local.peer_id, asker=STRANGER)).dialable


async def test_somebody_else_at_the_port_is_no_proof(service: Service, world: World) -> None:
    local = await world.peer("listening", network={"name": NETWORK})
    impostor = Announcer(service, "127.0.0.1")
    told = await until(service, impostor, add=(listing(1),), port=local.dialer.port)
    assert told.dialable is False
    [source] = (await service.sources(key_from_text(key(1)), "127.0.0.1")).sources
    assert (source.dialable, source.address) == (False, None)


async def test_who_cannot_be_dialled_hears_who_wants_to_be_called(service: Service, world: World) -> None:
    local = await world.peer("seeking", network={"name": NETWORK})
    seeker = Announcer(service, "127.0.0.1")
    seeker.identity = local.dialer.identity
    await until(service, seeker, provide=(provided(1, whole=False), provided(2, whole=False)), port=local.dialer.port)
    holder = Announcer(service, "127.0.0.1")
    told = await holder.tell(add=(listing(1),), provide=(provided(3),))
    [wanted] = told.wanted
    assert (wanted.key, wanted.peer) == (key(1), seeker.text)
    assert wanted.address == f"127.0.0.1:{local.dialer.port}"
    assert told.interval_s == CALLED_INTERVAL_S
    # Elsewhere this address means nothing; and who lacks chunks too has nothing to offer.
    assert (await Announcer(service, STRANGER).tell(add=(listing(1),))).wanted == ()
    assert (await Announcer(service, "127.0.0.1").tell(provide=(provided(2, whole=False),))).wanted == ()
    await seeker.tell(provide=(provided(1),), port=local.dialer.port)
    assert (await holder.tell()).wanted == ()


async def test_dial_backs_are_kept_and_bounded(dialer: Dialer, nursery: trio.Nursery) -> None:
    send, receive = trio.open_memory_channel[tuple[DialTarget, bool]](10)

    async def tell(place: DialTarget, dialable: bool) -> None:
        dial_back.keep(place, dialable, 0.0)
        await send.send((place, dialable))

    dial_back = DialBack(dialer, Limits(dial_burst=2, dial_rate=0.0001), tell)
    await nursery.start(dial_back.run)
    peer = dialer.identity.peer_id
    dial_back.look(DialTarget(peer, "0.0.0.0", 9), 0.0, None)
    dial_back.look(DialTarget(peer, "127.0.0.1", 0), 0.0, None)
    assert not dial_back.is_pending(DialTarget(peer, "0.0.0.0", 9))
    with trio.socket.socket() as nobody:
        await nobody.bind(("127.0.0.1", 0))
        place = DialTarget(peer, "127.0.0.1", nobody.getsockname()[1])
        dial_back.look(place, 0.0, None)
        dial_back.look(place, 0.0, None)  # it is under way
        assert dial_back.is_pending(place)
        assert await receive.receive() == (place, False)
        await trio.testing.wait_all_tasks_blocked()
        dial_back.look(place, 1.0, False)  # known
        assert not dial_back.is_pending(place)
        dial_back.look(place, 1000.0, False)  # long ago
        assert dial_back.is_pending(place)
        assert await receive.receive() == (place, False)
        await trio.testing.wait_all_tasks_blocked()
        dial_back.look(place, 1000.5, None)  # too often, for this address
        assert not dial_back.is_pending(place)


async def test_hosts_that_say_nothing_do_not_delay_dial_backs_of_other_networks(
    dialer: Dialer, nursery: trio.Nursery, world: World
) -> None:
    """Forty peers of one network, at a port that accepts and says nothing, delayed everybody's by minutes."""
    local = await world.peer("honest", network={"name": NETWORK})
    send, told = trio.open_memory_channel[tuple[PeerId, bool]](50)

    async def tell(place: DialTarget, dialable: bool) -> None:
        await send.send((place.peer, dialable))

    dial_back = DialBack(dialer, Limits(dial_burst=1000), tell)
    await nursery.start(dial_back.run)
    with trio.socket.socket() as silent:
        await silent.bind(("127.9.1.1", 0))
        silent.listen(64)
        for number in range(40):
            dial_back.look(DialTarget(peer_id(number), "127.9.1.1", silent.getsockname()[1]), 0.0, None)
        await trio.testing.wait_all_tasks_blocked()
        dial_back.look(DialTarget(local.peer_id, "127.0.0.1", local.dialer.port), 0.0, None)
        with trio.fail_after(5):
            assert await told.receive() == (local.peer_id, True)
        nursery.cancel_scope.cancel()


async def test_changes_are_told_to_all_who_listen(service: Service) -> None:
    changes, others = service.changes("192.0.2.1"), service.changes("192.0.2.1")
    assert (await anext(changes)).now.peers == (await anext(others)).now.peers == 0
    await Announcer(service).tell(add=(listing(1),))
    assert (await anext(changes)).now.shares == 1
    assert (await anext(others)).now.peers == 1
    service.stop()
    assert [figures async for figures in changes] == []
    assert [figures async for figures in others] == []
    assert [figures async for figures in service.changes("192.0.2.1")] == []


async def test_many_that_look_at_the_figures_at_once_do_so_together(service: Service) -> None:
    """Each had the peers counted for itself, announces too, and the 36th was told that too many questions waited."""
    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(partial(service.statistics, 0, f"203.0.113.{number}"))


async def test_listeners_are_bounded(start: Start) -> None:
    service = await start(event_streams=1)
    changes = service.changes("192.0.2.1")
    await anext(changes)
    with pytest.raises(TooMuch):
        await anext(service.changes("192.0.2.1"))
    service.stop()
    assert [figures async for figures in changes] == []


async def test_listeners_of_one_network_make_room_for_those_of_others(start: Start) -> None:
    """Sixteen addresses held all event streams, so that nobody else could listen."""
    service = await start(event_streams=8)
    crowd = [service.changes(f"192.0.2.{1 + number % 2}") for number in range(8)]
    for changes in crowd:
        await anext(changes)
    honest = service.changes("203.0.113.7")
    assert (await anext(honest)).now.peers == 0
    assert [figures async for figures in crowd.pop()] == []
    with pytest.raises(TooMuch):
        await anext(service.changes("192.0.2.1"))
    await Announcer(service).tell(add=(listing(1),))
    for changes in (honest, *crowd):
        assert (await anext(changes)).now.shares == 1
    service.stop()
    for changes in (honest, *crowd):
        assert [figures async for figures in changes] == []


async def test_the_history_is_told_in_even_steps_and_ends_with_its_time(service: Service, clock: Clock) -> None:
    begin = clock.now
    for _ in range(5):
        await service.remember()
        clock.now += 3600
    times = [moment.time for moment in (await service.statistics(2.5)).history]
    assert times == [begin + 3 * 3600, begin + 4 * 3600]
    clock.now += 30 * 86400
    await service.remember()
    assert len((await service.statistics(1e9)).history) == 1
