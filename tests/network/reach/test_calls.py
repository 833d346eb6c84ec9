"""Peers that cannot be dialled give and take all the same: they call. Nobody can misuse that they do."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from p2p import places
from p2p.errors import NotFound, OwnAddress, PeerError, PeerGone
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection, Ends
from p2p.node import Node
from p2p.progress import Progress
from p2p.reach.reachability import Reach
from p2p.sharing.fetching.incoming import IncomingSources
from p2p.sharing.share_calls import ShareCalls
from p2p.wire import messages
from p2p.wire.address import Address
from p2p.wire.messages import DialMe, Failed, Have, Offer, Open
from p2p.wire.tracker import provider_key
from tests.support.constants import Shorten
from tests.support.pipes import make_dialer
from tests.support.rogue_sources import Truth, behaviours
from tests.support.rogues.crowds import dial_from
from tests.support.world import NETWORK, Door, Published, World, bare, hint_of, same_tree, start_rogue, until

MIB = 1024 * 1024
FILES = {"large.bin": 3 * MIB + 17, "small.txt": 999, "sub/other.bin": 300_000}
SIZE = sum(FILES.values())


def tell(caller: Node, published: Published, fetcher: Node) -> None:
    """What a tracker would tell the caller."""
    caller.calls.wanted(published.link.share_id, fetcher.peer_id, fetcher.addresses[0])


def ends_of(node: Node, share: ShareId, peer: PeerId) -> Ends:
    """Both ends of the exchange of a share with that peer."""
    swarm = node.swarms.get(share)
    assert swarm is not None
    return swarm.members[peer].ends


def arrived(world: World, published: Published, *fetchers: Node) -> bool:
    return all(same_tree(published.path, world.out(fetcher) / "data") for fetcher in fetchers)


@pytest.mark.parametrize("named", [bytes, provider_key], ids=["share id", "provider key"])
async def test_a_fetch_from_one_who_cannot_be_dialled(world: World, named: Callable[[bytes], bytes]) -> None:
    origin, fetcher = await world.peer("origin", dialable="no"), await world.peer("fetcher")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    assert not published.link.peers
    assert not origin.presence.advertised()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, published.link)
        await until(lambda: fetcher.swarms.taker(share))  # it has no manifest, and nobody to ask for one
        origin.calls.wanted(named(share), fetcher.peer_id, fetcher.addresses[0])
    assert arrived(world, published, fetcher)
    assert fetcher.presence.contacts.address_of(origin.peer_id) is None
    assert origin.presence.contacts.address_of(fetcher.peer_id) == fetcher.addresses[0]
    assert fetcher.presence.reachability.state is Reach.DIALABLE
    assert fetcher.swarms.taker(share) is None


async def test_one_who_can_be_dialled_passes_it_on_between_two_who_cannot(world: World) -> None:
    origin = await world.peer("origin", dialable="no", upload_limit_bytes_per_s=2 * MIB)
    middle, other = await world.peer("middle"), await world.peer("other", dialable="no")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    results = {}

    async def get(peer: Node) -> None:
        hints = [hint_of(middle)] if peer is other else []
        results[peer.peer_id] = await world.get(peer, bare(published.link), hints, keep_serving=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get, middle)
        nursery.start_soon(get, other)
        await until(lambda: middle.swarms.taker(share))
        tell(origin, published, middle)
    assert arrived(world, published, middle, other)
    assert results[middle.peer_id].sources.keys() == {origin.peer_id}
    assert results[other.peer_id].sources.keys() == {middle.peer_id}
    assert origin.traffic.bytes_uploaded < 1.5 * SIZE


async def test_who_cannot_be_dialled_offers_what_it_has_to_whoever_has_nothing_yet(world: World) -> None:
    """Both fetch; one has the manifest and a part. It dials the other as a source, which it cannot be yet."""
    origin = await world.peer("origin")
    published = await world.publish(origin, FILES)
    some, none = await world.peer("some", dialable="no"), await world.peer("none")
    await world.get(some, published.link, select=("large.bin",))
    await world.stop("origin")
    progress = Progress()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(world.get, none, bare(published.link), progress=progress, keep_serving=True))
        await until(lambda: none.swarms.taker(published.link.share_id))
        nursery.start_soon(world.get, some, bare(published.link), [hint_of(none)])
        await until(lambda: progress.done == FILES["large.bin"])
        again = await world.peer("again", dialable="no")
        back = await world.publish_path(again, published.path)
        # The rest comes by a call to one, and from it to the other.
        tell(again, back, none)
    assert arrived(world, published, some, none)


async def test_a_second_share_is_called_for_over_the_exchange_of_the_first(world: World) -> None:
    origin = await world.peer("origin", dialable="no", upload_limit_bytes_per_s=MIB)
    fetcher = await world.peer("fetcher")
    first = await world.publish(origin, {"a.bin": 8 * MIB}, "first")
    second = await world.publish(origin, {"b.bin": 100_000}, "second", seed=2)
    share = second.link.share_id

    async def unused(connection: Connection) -> None:
        raise AssertionError("the fetch takes the call")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, first.link)
        await until(lambda: fetcher.swarms.taker(first.link.share_id))
        tell(origin, first, fetcher)
        await until(lambda: origin.traffic.bytes_uploaded)
        progress = Progress()
        async with trio.open_nursery() as inner:
            inner.start_soon(partial(world.get, fetcher, second.link, folder=world.folder / "b"))
            await until(lambda: fetcher.swarms.taker(share))
            callers = IncomingSources(
                fetcher.fetching._deps, share, unused, lambda peer: False, lambda peer: (0, 0), progress
            )
            for _ in range(100):
                callers.ask(origin.peer_id)
        assert callers.known == 1
        assert "asked to call" in progress.trouble
        nursery.cancel_scope.cancel()
    assert same_tree(second.path, world.folder / "b" / "data")


async def test_who_is_connected_already_is_not_called(world: World) -> None:
    origin = await world.peer("origin", upload_limit_bytes_per_s=2 * MIB)
    fetcher = await world.peer("fetcher", dialable="no")
    published = await world.publish(origin, FILES)
    refused = trio.Event()

    async def refuse(connection: Connection) -> None:
        await connection.send(Failed(reason=messages.NOT_FOUND))
        refused.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, published.link)
        await until(lambda: fetcher.traffic.bytes_downloaded)
        for _ in range(50):
            tell(fetcher, published, origin)
        rogue = await start_rogue(nursery, origin, refuse)
        fetcher.calls.wanted(published.link.share_id, rogue.dialer.identity.peer_id, rogue.hint.address)
        await refused.wait()  # what was said before has been dealt with
        assert {peer for peer, _ in (*fetcher.calls._past, *fetcher.calls._calling)} <= {rogue.dialer.identity.peer_id}
        nursery.cancel_scope.cancel()


async def test_when_nobody_can_be_dialled_the_user_is_told_what_to_do(world: World) -> None:
    fetcher = await world.peer("fetcher", dialable="no")
    origin = await world.peer("origin", dialable="no")
    published = await world.publish(origin, FILES)
    progress = Progress()

    async def unused(connection: Connection) -> None:
        raise AssertionError("nobody calls")

    IncomingSources(
        fetcher.fetching._deps, published.link.share_id, unused, lambda peer: False, lambda peer: (0, 0), progress
    ).ask(origin.peer_id)
    assert f"forward TCP port {fetcher.addresses[0].port}" in progress.trouble


async def test_a_peer_behind_a_router_that_does_not_know_it(world: World) -> None:
    """It says where it listens, but nobody can reach it there."""
    origin, fetcher = await world.peer("origin"), await world.peer("fetcher")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    with trio.socket.socket() as closed:
        await closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        origin.dialer.port = closed.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.get, fetcher, bare(published.link), keep_serving=True))
            await until(lambda: fetcher.swarms.taker(share))
            tell(origin, published, fetcher)
        ends = ends_of(fetcher, share, origin.peer_id)
        await until(lambda: fetcher.presence.contacts.is_dialable(ends) is False)
    assert arrived(world, published, fetcher)


# Misuse of the one who is called.


async def test_an_offer_that_nobody_wants_is_not_found(world: World, tmp_path: Path) -> None:
    local = await world.peer("local")
    published = await world.publish(local, FILES)
    connection = await make_dialer(tmp_path / "rogue", NETWORK).dial(local.addresses[0], local.peer_id)
    for share in (bytes(32), published.link.share_id):
        await connection.send(Offer(share=share))
        assert await connection.receive() == Failed(reason=messages.NOT_FOUND, share=share)
    await connection.send(Open(share=published.link.share_id))
    assert isinstance(await connection.receive(), Have)
    await connection.send(Offer(share=published.link.share_id))
    assert await connection.receive() == Failed(reason=messages.UNSUPPORTED)
    connection.close()


async def offers(
    folder: Path,
    to: Node,
    share: bytes,
    behave: Callable[[Connection], Awaitable[None]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A rogue that offers, behaves like that, and begins again whenever it is thrown out."""
    dialer = make_dialer(folder, NETWORK)
    said = False
    while True:
        try:
            connection = await dialer.dial(to.addresses[0], to.peer_id)
            try:
                await connection.send(Offer(share=share))
                if not said:
                    said = True
                    task_status.started()
                await behave(connection)
            finally:
                connection.close()
        except* PeerError:
            pass
        await trio.sleep(0.05)


async def floods_offers(share: bytes, connection: Connection) -> None:
    while True:
        await connection.send(*[Offer(share=share)] * 500)


KINDS = ["wrong_bytes", "wrong_root", "wrong_part", "garbage", "closes", "gone", "refuses", "says_nothing"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_caller_that_lies_beside_an_honest_one(world: World, tmp_path: Path, kind: str) -> None:
    origin = await world.peer("origin", dialable="no")
    fetcher = await world.peer("fetcher")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    behave = behaviours(Truth.of(origin, share))[kind]
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as fetching:
            fetching.start_soon(world.get, fetcher, published.link)
            await until(lambda: fetcher.swarms.taker(share))
            await nursery.start(offers, tmp_path / "rogue", fetcher, share, behave)
            tell(origin, published, fetcher)
        nursery.cancel_scope.cancel()
    assert arrived(world, published, fetcher)


async def test_floods_of_offers_neither_kill_nor_starve(world: World, tmp_path: Path) -> None:
    origin = await world.peer("origin", dialable="no")
    fetcher = await world.peer("fetcher")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as fetching:
            fetching.start_soon(world.get, fetcher, published.link)
            await until(lambda: fetcher.swarms.taker(share))
            for number, offered in enumerate((share, bytes(32)) * 2):
                behave = partial(floods_offers, offered)
                await nursery.start(offers, tmp_path / f"rogue{number}", fetcher, offered, behave)
            tell(origin, published, fetcher)
        nursery.cancel_scope.cancel()
    assert arrived(world, published, fetcher)


async def test_the_second_call_of_a_peer_takes_the_place_of_its_first_and_networks_share_the_places(
    world: World, tmp_path: Path, shorten: Shorten
) -> None:
    shorten(places, "TRIED_S", 1000)
    origin = await world.peer("origin", dialable="no")
    fetcher = await world.peer("fetcher", max_sources=4)
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    dialers = [make_dialer(tmp_path / f"rogue{n}", NETWORK) for n in range(5)]
    connections = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, published.link)
        await until(lambda: fetcher.swarms.taker(share))
        answers = []
        calls = [(0, 1), (0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (4, 2)]
        for number, network in calls:
            connection = await dial_from(dialers[number], f"127.{network}.0.1", fetcher.addresses[0])
            connections.append(connection)
            await connection.send(Offer(share=share))
            answers.append(await connection.receive())
        root = messages.GetRoot(share=share)
        assert answers == [root] * 5 + [Failed(reason=messages.BUSY, share=share), root]
        for displaced in (connections[0], connections[4]):
            with trio.fail_after(10), pytest.raises(PeerGone):
                await displaced.receive()
        nursery.cancel_scope.cancel()
    for connection in connections:
        with pytest.raises(PeerGone):
            await connection.receive()  # the fetch is over, and so are they
        connection.close()


async def test_a_banned_liar_is_not_taken_when_it_calls_again(world: World, tmp_path: Path) -> None:
    origin = await world.peer("origin", dialable="no")
    fetcher = await world.peer("fetcher")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    rogue = make_dialer(tmp_path / "rogue", NETWORK)  # the same home, so the same identity
    behave = behaviours(Truth.of(origin, share))["wrong_bytes"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, published.link)
        await until(lambda: fetcher.swarms.taker(share))
        nursery.start_soon(offers, tmp_path / "rogue", fetcher, share, behave)
        peer = rogue.identity.peer_id
        await until(lambda: fetcher.bans.banned_until(peer) > trio.current_time())
        connection = await rogue.dial(fetcher.addresses[0], fetcher.peer_id)
        await connection.send(Offer(share=share))
        with pytest.raises(PeerGone):
            await connection.receive()
        connection.close()
        nursery.cancel_scope.cancel()


# Misuse of the one who calls.


async def test_nobody_calls_itself(world: World) -> None:
    local, other = await world.peer("local"), await world.peer("other")
    published = await world.publish(local, FILES)
    address = local.addresses[0]
    local_calls = ShareCalls(
        local.presence.contacts, local.library, local.disk, local.swarms, local.readers, local.router
    )
    with pytest.raises(OwnAddress):
        await local_calls.call(address, local.peer_id, published.link.share_id)
    with pytest.raises(PeerError):
        await local_calls.call(address, other.peer_id, published.link.share_id)
    for peer in (local.peer_id, other.peer_id):
        local.calls.wanted(published.link.share_id, peer, address)
    local.calls.wanted(published.link.share_id, other.peer_id, Address("0.0.0.0", address.port))
    tell(local, published, other)
    await until(lambda: local.calls._past)
    assert local.calls._past.keys() == {(other.peer_id, published.link.share_id)}
    assert other.presence.reachability.state is Reach.DIALABLE
    assert local.presence.reachability.state is Reach.UNKNOWN  # nobody came


async def test_who_refuses_is_not_called_again_at_once(world: World) -> None:
    origin = await world.peer("origin", dialable="no")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    offered: list[bytes] = []

    async def refuse(connection: Connection) -> None:
        message = await connection.receive()
        assert isinstance(message, Offer)
        offered.append(message.share)
        await connection.send(Failed(reason=messages.NOT_FOUND, share=share))
        offered.append(b"refused")
        await connection.receive()

    async with trio.open_nursery() as nursery:
        first, second = [await start_rogue(nursery, origin, refuse) for _ in range(2)]
        for _ in range(20):
            origin.calls.wanted(share, first.dialer.identity.peer_id, first.hint.address)
        await until(lambda: len(offered) == 2)
        origin.calls.wanted(share, first.dialer.identity.peer_id, first.hint.address)
        origin.calls.wanted(bytes(32), second.dialer.identity.peer_id, second.hint.address)  # what it has not
        origin.calls.wanted(share, second.dialer.identity.peer_id, second.hint.address)
        await until(lambda: len(offered) == 4)
        assert offered == [share, b"refused"] * 2
        nursery.cancel_scope.cancel()


async def test_dial_me_leads_to_nobody_else(world: World, tmp_path: Path, nursery: trio.Nursery) -> None:
    """Its sender claims the port of somebody else on its machine, who is looked for there once, and never called."""
    origin = await world.peer("origin", dialable="no")
    published = await world.publish(origin, FILES)
    second = await world.publish(origin, {"b.bin": 1000}, "second", seed=2)
    share, door = published.link.share_id, Door()
    await nursery.start(door.run)
    rogue = make_dialer(tmp_path / "rogue", NETWORK)
    rogue.port = door.address.port
    connection = await rogue.dial(origin.addresses[0], origin.peer_id)
    ask = DialMe(share=second.link.share_id)
    await connection.send(*[ask] * 100, Open(share=share))
    assert isinstance(await connection.receive(), Have)  # never answered
    ends = ends_of(origin, share, rogue.identity.peer_id)
    await until(lambda: origin.presence.contacts.is_dialable(ends) is False)
    await connection.send(*[ask] * 100, messages.GetRoot(share=share))
    assert isinstance(await connection.receive(), messages.Root)
    assert origin.presence.contacts.address_of(rogue.identity.peer_id) is None
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert door.came == 1
    connection.close()


async def test_dial_me_is_followed_to_where_its_sender_was_met(world: World) -> None:
    origin = await world.peer("origin", dialable="no")
    first = await world.publish(origin, FILES)
    second = await world.publish(origin, {"b.bin": 1000}, "second", seed=2)
    offered: list[bytes] = []

    async def ask(connection: Connection) -> None:
        message = await connection.receive()
        assert isinstance(message, Offer)
        offered.append(message.share)
        await connection.send(Open(share=message.share))
        await connection.send(*[DialMe(share=second.link.share_id)] * 50, DialMe(share=bytes(32)))
        while True:
            await connection.receive()

    async with trio.open_nursery() as nursery:
        rogue = await start_rogue(nursery, origin, ask)
        origin.calls.wanted(first.link.share_id, rogue.dialer.identity.peer_id, rogue.hint.address)
        await until(lambda: len(offered) >= 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert offered == [first.link.share_id, second.link.share_id]
        nursery.cancel_scope.cancel()


# Ends.


async def test_a_caller_that_stops_is_replaced_by_its_next_call(world: World) -> None:
    origin = await world.peer("origin", dialable="no", upload_limit_bytes_per_s=2 * MIB)
    fetcher = await world.peer("fetcher")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.get, fetcher, published.link)
        await until(lambda: fetcher.swarms.taker(share))
        tell(origin, published, fetcher)
        await until(lambda: fetcher.traffic.bytes_downloaded > MIB)
        await world.stop("origin")
        origin = await world.peer("origin", dialable="no")
        tell(origin, published, fetcher)
    assert arrived(world, published, fetcher)


async def test_a_fetch_that_ends_lets_its_callers_go(world: World, tmp_path: Path) -> None:
    fetcher = await world.peer("fetcher")
    origin = await world.peer("origin", dialable="no")
    published = await world.publish(origin, FILES)
    share = published.link.share_id
    dialer = make_dialer(tmp_path / "mute", NETWORK)
    async with trio.open_nursery() as nursery:

        async def get() -> None:
            with pytest.raises(NotFound):
                await world.get(fetcher, published.link, wait_s=2)

        nursery.start_soon(get)
        await until(lambda: fetcher.swarms.taker(share))
        connection = await dialer.dial(fetcher.addresses[0], fetcher.peer_id)
        await connection.send(Offer(share=share))
        assert await connection.receive() == messages.GetRoot(share=share)
        with trio.fail_after(10), pytest.raises(PeerGone):
            await connection.receive()
    connection.close()
    assert fetcher.swarms.taker(share) is None
    assert not fetcher.swarms
