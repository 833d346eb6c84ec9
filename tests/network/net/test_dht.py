"""The DHT on loopback: records are kept, found and healed while nodes die, lie and forget the time."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import pytest
import trio
import trio.lowlevel

from p2p.core.dht import admission, recordstore
from p2p.core.dht.publications import ENOUGH_HOLDERS
from p2p.core.dht.routing import Contact, K
from p2p.identity import Identity
from p2p.ids import H
from p2p.net import dht as module
from p2p.net.datagrams import Endpoint, Reply, head_of
from p2p.net.dht import Dht
from p2p.net.lookups import named_in
from p2p.wire import datagrams, records
from p2p.wire.datagrams import (
    AMPLIFICATION,
    MAX_DATAGRAM_BYTES,
    NUMBER_BYTES,
    Answer,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Query,
    Store,
    Values,
    pack_address,
    pack_contacts,
)
from p2p.wire.records import Pointer, Provider, Record, RecordKind, Whereabouts
from tests.support.constants import Shorten
from tests.support.dht_overlay import KEY, NETWORK, PATIENCE_S, Bare, Overlay, Running, provider
from tests.support.world import until


@pytest.fixture
def overlay(nursery: trio.Nursery) -> Overlay:
    return Overlay(nursery)


@pytest.fixture
def bare() -> Iterator[Bare]:
    made = Bare()
    with made.socket:
        yield made


async def found(node: Running, key: bytes = KEY, kind: RecordKind = RecordKind.PROVIDER) -> set[bytes]:
    """The publishers that a get over all holders finds."""
    with trio.fail_after(PATIENCE_S):
        outcome = await node.dht.get(key, kind, enough=None)
    return {record.publisher for record in outcome.found.values()}


async def test_what_is_published_is_found_though_half_of_the_nodes_die(overlay: Overlay) -> None:
    nodes = await overlay.grow(14)
    for node in nodes[:3]:
        done = await node.dht.publish(KEY, provider(node.identity))
        assert done.stored >= len(nodes) - 1 - 2, "all others are near, but for one or two that were slow"
        assert not done.refused
    publishers = {node.identity.peer_id for node in nodes[:3]}
    assert await found(nodes[-1]) == publishers
    await overlay.kill(nodes[:7])
    for node in nodes[7:9]:
        assert await found(node) == publishers
    outcome = await nodes[-1].dht.get(KEY, RecordKind.PROVIDER)
    assert outcome.holders >= ENOUGH_HOLDERS
    assert not (await nodes[-1].dht.get(H("nothing")[:20], RecordKind.PROVIDER)).found


async def test_an_overlay_of_ipv6(overlay: Overlay) -> None:
    nodes = [await overlay.start(host="::1", local_exempt=True) for _ in range(6)]
    assert all(contact.ip == "::1" for node in nodes for contact in node.dht.contacts())
    assert (await nodes[0].dht.publish(KEY, provider(nodes[0].identity))).stored == 5
    assert await found(nodes[-1]) == {nodes[0].identity.peer_id}


async def test_the_nearest_nodes_hold_the_record(overlay: Overlay) -> None:
    nodes = await overlay.grow(K + 6)
    assert (await nodes[0].dht.publish(KEY, provider(nodes[0].identity))).stored >= K - 2
    place = int.from_bytes(KEY, "big")
    ordered = sorted(nodes, key=lambda node: int.from_bytes(node.dht.node_id, "big") ^ place)
    nearest = [node for node in ordered if node is not nodes[0]][: K // 2]
    assert sum(bool(node.dht.store.get(KEY, time.time())) for node in nearest) >= K // 2 - 2


async def test_a_record_on_one_node_is_found(overlay: Overlay, bare: Bare) -> None:
    nodes = await overlay.grow(8)
    record = provider(bare.identity)("127.200.0.1")
    assert await bare.store(await bare.token(nodes[3]), KEY, record.raw, nodes[3]) == ""
    for node in nodes:
        assert (await node.dht.get(KEY, RecordKind.PROVIDER)).found == {
            (bare.identity.peer_id, RecordKind.PROVIDER): record
        }


async def test_records_are_heard_as_they_come_and_own_ones_first(overlay: Overlay) -> None:
    nodes = await overlay.grow(4)
    await nodes[0].dht.publish(KEY, provider(nodes[0].identity))
    heard: list[tuple[Record, int]] = []
    asker = nodes[3].dht
    queries = asker.endpoint.counts["queries"]
    outcome = await asker.get(
        KEY, RecordKind.PROVIDER, heard=lambda record: heard.append((record, asker.endpoint.counts["queries"]))
    )
    assert [(record.publisher, count) for record, count in heard] == [(nodes[0].identity.peer_id, queries)]
    assert outcome.holders == ENOUGH_HOLDERS, "what this node keeps itself is no other's word"


async def test_the_highest_sequence_is_found(overlay: Overlay, bare: Bare) -> None:
    nodes = await overlay.grow(4)
    for sequence, node in ((5, nodes[0]), (7, nodes[1]), (6, nodes[2])):
        raw = provider(bare.identity, sequence=sequence)("127.200.0.1").raw
        assert await bare.store(await bare.token(node), KEY, raw, node) == ""
    outcome = await nodes[3].dht.get(KEY, RecordKind.PROVIDER, enough=None)
    assert [record.sequence for record in outcome.found.values()] == [7]


# What storers refuse.


async def ignored(bare: Bare, store: Store, at: Running) -> None:
    """Sends the query, and sees that it is dropped before its signature is checked."""
    before = at.dht.endpoint.counts["unwanted"]
    await bare.send(store, at)
    await bare.ask(Ping(os.urandom(NUMBER_BYTES), at.dht.node_id), at)
    assert at.dht.endpoint.counts["unwanted"] == before + 1


async def test_who_stores_needs_a_token_of_its_own_address(overlay: Overlay, bare: Bare) -> None:
    [node] = await overlay.grow(1)
    record = provider(bare.identity)("127.200.0.1")
    other = Bare("127.200.0.2")
    twin = Bare()  # the same host: another port and another id
    with other.socket, twin.socket:
        for token in (bytes(8), os.urandom(8), await other.token(node), await twin.token(node)):
            query = Store(os.urandom(NUMBER_BYTES), node.dht.node_id, token, KEY, record.raw)
            await ignored(bare, query, node)
    assert len(node.dht.store) == 0
    assert await bare.store(await bare.token(node), KEY, record.raw, node) == ""
    assert len(node.dht.store) == 1


async def test_a_token_is_good_through_one_rotation(overlay: Overlay, bare: Bare) -> None:
    [node] = await overlay.grow(1)
    token = await bare.token(node)
    raw = provider(bare.identity)("127.200.0.1").raw
    node.dht.rotate_secret()
    assert await bare.store(token, KEY, raw, node) == ""
    node.dht.rotate_secret()
    await ignored(bare, Store(os.urandom(NUMBER_BYTES), node.dht.node_id, token, KEY, raw), node)
    assert await bare.store(await bare.token(node), KEY, raw, node) == ""


async def test_nobody_is_named_at_an_address_that_is_not_its_own(overlay: Overlay, bare: Bare) -> None:
    [node] = await overlay.grow(1)
    token = await bare.token(node)
    elsewhere = provider(bare.identity)("127.200.0.9").raw
    assert await bare.store(token, KEY, elsewhere, node) == "not your address"
    whereabouts = records.address_key(bare.identity.peer_id)
    sealed = partial(records.seal, bare.identity, NETWORK, sequence=1, now=int(time.time()), lasts_s=7200)
    assert await bare.store(token, whereabouts, sealed(whereabouts, Whereabouts((("8.8.8.8", 1),))).raw, node)
    assert await bare.store(token, whereabouts, sealed(whereabouts, Whereabouts(())).raw, node) == ""
    # The record of somebody else that sits elsewhere is that one's to store.
    other = provider(Identity.generate())("127.200.0.2").raw
    assert await bare.store(token, KEY, other, node) == "not your address"
    assert list(node.dht.store.keys()) == [whereabouts]


async def test_storers_refuse_what_is_no_record(overlay: Overlay, bare: Bare) -> None:
    [node] = await overlay.grow(1)
    token = await bare.token(node)
    raw = provider(bare.identity)("127.200.0.1").raw
    forged = bytes([raw[0] ^ 1]) + raw[1:]
    over = provider(bare.identity, now=time.time() - 7300)("127.200.0.1").raw
    for bad in (b"", raw[:-1], forged, over, os.urandom(512)):
        assert await bare.store(token, KEY, bad, node) != ""
    assert await bare.store(token, H("other")[:20], raw, node) != ""
    assert len(node.dht.store) == 0


async def test_quotas_count_the_prefix_that_stores(overlay: Overlay, shorten: Shorten) -> None:
    strict = await overlay.start()
    exempt = await overlay.start(local_exempt=True)
    shorten(recordstore, "MAX_PER_KEY_AND_PREFIX", 2)
    refused: dict[Running, set[str]] = {strict: set(), exempt: set()}
    for number in range(4):
        one = Bare(f"127.200.0.{number + 1}")
        with one.socket:
            raw = provider(one.identity)(f"127.200.0.{number + 1}").raw
            for node in (strict, exempt):
                refused[node].add(await one.store(await one.token(node), KEY, raw, node))
    assert [len(node.dht.store) for node in (strict, exempt)] == [2, 4]
    assert refused[strict] <= {"", "quota"}
    assert refused[exempt] == {""}


# What readers refuse.


class Forging(Dht):
    """Answers with records that are none, of a publisher that exists."""

    forged: tuple[bytes, ...] = ()

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        if isinstance(query, FindValue):
            head = head_of(query, contact, time.time())
            return Values(*head, bytes(8), self._contacts(query.key, contact, 100), self.forged, len(self.forged))
        return super()._serve(query, contact, budget)


async def test_readers_believe_no_storer(overlay: Overlay) -> None:
    [honest] = await overlay.grow(1)
    maker = Identity.generate()
    raw = provider(maker)("127.0.0.1").raw
    Forging.forged = (
        bytes([raw[0] ^ 1]) + raw[1:],
        raw[:-1],
        provider(maker, now=time.time() - 7300)("127.0.0.1").raw,
        provider(maker, H("other")[:20])("127.0.0.1").raw,
        b"",
        os.urandom(100),
    )
    await overlay.grow(4, Forging)
    [reader] = await overlay.grow(1)
    outcome = await reader.dht.get(KEY, RecordKind.PROVIDER)
    assert (outcome.found, outcome.holders) == ({}, 0)
    await honest.dht.publish(KEY, provider(honest.identity))
    assert await found(reader) == {honest.identity.peer_id}


async def test_records_of_another_kind_make_nobody_a_holder(overlay: Overlay, bare: Bare) -> None:
    """A provider record fits under any key: on all storers of a pointer it must not end the search for that."""
    nodes = await overlay.grow(8)
    key = records.pointer_key(bare.identity.peer_id, "news")
    now = int(time.time())
    pointer = records.seal(bare.identity, NETWORK, key, Pointer("news", bytes(32)), sequence=1, now=now, lasts_s=7200)
    for node in nodes:
        token = await bare.token(node)
        assert await bare.store(token, key, provider(bare.identity, key)("127.200.0.1").raw, node) == ""
    assert await bare.store(await bare.token(nodes[5]), key, pointer.raw, nodes[5]) == ""
    for node in nodes:
        outcome = await node.dht.get(key, RecordKind.POINTER)
        assert [record.payload for record in outcome.found.values()] == [Pointer("news", bytes(32))]


# Liars.


class Lying(Dht):
    """Names nodes that are nearest of all and nobody, and says that who asks sits where it does not."""

    names = b""
    seen = "8.8.8.8"

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        head = (query.number, contact.id, int(time.time()), pack_address(self.seen, 9))
        match query:
            case FindNode():
                return Nodes(*head, bytes(8), self.names)
            case FindValue():
                return Values(*head, bytes(8), self.names, (), 0)
            case _:
                return super()._serve(query, contact, budget)


async def test_liars_hide_no_record_and_empty_no_table(overlay: Overlay) -> None:
    """They name all that are there, at an address where nobody is."""
    nodes = await overlay.grow(8)
    await nodes[0].dht.publish(KEY, provider(nodes[0].identity))
    with Bare("127.201.0.1").socket as mute:
        nowhere = mute.getsockname()
        Lying.names = pack_contacts((node.dht.node_id, *nowhere) for node in nodes)
        await overlay.grow(2, Lying)
        before = {contact.key for contact in nodes[1].dht.contacts()}
        assert len(before) == 9
        assert await found(nodes[1]) == {nodes[0].identity.peer_id}
        for _ in range(3):
            await nodes[1].dht.find(KEY)
        assert {contact.key for contact in nodes[1].dht.contacts()} == before


async def test_who_names_nobody_but_the_dead_does_not_keep_a_newcomer_from_beginning(
    overlay: Overlay, shorten: Shorten
) -> None:
    shorten(module, "LATE_JOIN_S", 0.0)
    with Bare("127.201.0.1").socket as mute:
        Lying.names = pack_contacts((os.urandom(20), *mute.getsockname()) for _ in range(K))
        (liar,) = await overlay.grow(1, Lying)
        newcomer = await overlay.start(ways_in=lambda: [liar.address])
        with trio.fail_after(PATIENCE_S):
            await newcomer.dht.joined.wait()
        assert newcomer.dht.endpoint._pending, "its first lookup goes on"


async def test_nobody_is_made_to_sign_that_it_is_where_it_is_not(overlay: Overlay) -> None:
    nodes = await overlay.grow(6)
    Lying.names = b""
    await overlay.grow(1, Lying)
    asked: list[str] = []

    def make(host: str) -> Record | None:
        asked.append(host)
        return provider(nodes[0].identity)(host)

    await nodes[0].dht.find(KEY)
    await nodes[0].dht.publish(KEY, make)
    assert asked == [nodes[0].address[0]]


def test_a_stranger_sends_nobody_to_a_private_network() -> None:
    hosts = ["8.8.4.4", "192.168.1.1", "127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255"]
    contacts = pack_contacts((os.urandom(20), host, 9) for host in hosts)
    answer = Nodes(bytes(NUMBER_BYTES), bytes(20), 0, pack_address("8.8.8.8", 1), bytes(8), contacts)

    def named(by: str) -> list[str]:
        return [contact.ip for contact in named_in(Reply(answer, Contact(bytes(20), by, 1)), v6=False) or []]

    assert named("8.8.8.8") == ["8.8.4.4"]
    assert named("192.168.1.7") == ["8.8.4.4", "192.168.1.1"]
    assert named("127.0.0.1") == ["8.8.4.4", "192.168.1.1", "127.0.0.1"]


@pytest.mark.parametrize("packed", [b"\0", bytes(25), bytes(27), bytes(38)])
async def test_contacts_cut_short_are_nobodys_word(overlay: Overlay, packed: bytes) -> None:
    nodes = await overlay.grow(3)
    Lying.names = packed
    [liar] = await overlay.grow(1, Lying)
    outcome = await nodes[0].dht.find(KEY)
    assert {contact.id for contact in outcome.near} == {node.dht.node_id for node in nodes[1:]}
    assert outcome.failures == 1
    assert liar.dht.node_id not in outcome.tokens


# Who gets how much.


def full(node: Running) -> None:
    """As many contacts and records as there can be, of the largest kind."""
    v6 = node.dht.endpoint.v6
    for number in range(60):
        host = "::1" if v6 else f"127.100.{number}.1"
        node.dht.table.add_contact(Contact(os.urandom(20), host, 1 + number))
    now = int(time.time())
    for number in range(64):
        publisher = H("publisher", bytes([number]))
        raw = os.urandom((512, 450, 200, 100)[number % 4])
        node.dht.store.put(
            Record(RecordKind.PROVIDER, KEY, publisher, 0, now, now + 900, Provider(()), raw, None),  # type: ignore[arg-type]
            "",
            now,
        )


def queries_of(to: bytes, sizes: Sequence[int]) -> list[Query]:
    """All kinds, from the smallest to the largest."""
    number = bytes(NUMBER_BYTES)
    made: list[Query] = [Ping(number, b""), Ping(number, to)]
    for size in sizes:
        made += [Ping(number, to, bytes(size)), FindNode(number, to, KEY, bytes(size))]
        made += [FindValue(number, to, KEY, bytes(size)), Store(number, to, bytes(8), KEY, b"", bytes(size))]
    return made


@pytest.mark.parametrize("host", ["127.0.9.1", "::1"])
async def test_no_answer_has_more_than_three_times_its_query(overlay: Overlay, host: str) -> None:
    node = await overlay.start(host=host, local_exempt=host == "::1")
    full(node)
    asker = Contact(os.urandom(20), host, 65535)
    largest = 0
    for query in queries_of(node.dht.node_id, (0, 1, 50, 100, 200, 231, 300, 900)):
        length = datagrams.overhead(query)
        answer = node.dht._serve(query, asker, min(MAX_DATAGRAM_BYTES, AMPLIFICATION * length))
        assert answer is not None
        size = len(node.dht.endpoint.codec.write(answer))
        assert size <= AMPLIFICATION * length
        if isinstance(answer, Values) and size > 700:
            assert answer.records
            assert answer.contacts, "whatever is kept, the asker gets nearer"
        largest = max(largest, size)
    assert largest > MAX_DATAGRAM_BYTES - 110, "the largest answers are as large as they may be"


@pytest.mark.parametrize("host", ["127.0.9.1", "::1"])
async def test_who_may_not_be_there_gets_no_more_than_it_paid_for(overlay: Overlay, host: str) -> None:
    """All that comes back on the wire, the question whether it is there included."""
    node = await overlay.start(host=host, local_exempt=host == "::1")
    full(node)
    for _ in range(9):
        node.dht.endpoint.patience.measured(0.001)
    probed = 0
    with ExitStack() as open_sockets:
        victims = []
        for query in queries_of(node.dht.node_id, (0, 100, 231)):
            if isinstance(query, Store):
                continue  # without a token of this address nothing comes back at all
            victim = Bare("127.200.0.1" if host != "::1" else host)
            open_sockets.enter_context(victim.socket)
            victims.append((victim, await victim.send(query, node)))
        for victim, paid in victims:
            got = [await victim.receive()]
            await until(lambda: not node.dht._probing)
            with suppress(BlockingIOError):
                while True:
                    got.append(victim.stdlib.recv(65536))
            assert sum(map(len, got)) <= AMPLIFICATION * paid
            probed += len(got) > 1
            assert node.dht.table.get(victim.codec.node_id) is None, "who never answered is no contact"
    assert probed > len(victims) // 2


# Time.


class Ahead(Endpoint):
    """Of a machine whose clock is two hours ahead of that of the test."""

    def now(self) -> float:
        return time.time() + 7200


class Absurd(Endpoint):
    """Of a machine that says it is the year 2106."""

    def now(self) -> float:
        return 2.0**32


async def test_a_clock_that_is_wrong_by_hours_heals_among_others_and_liars(overlay: Overlay) -> None:
    nodes = await overlay.grow(7, endpoint=Ahead)
    await overlay.grow(3, endpoint=Absurd)
    [late] = await overlay.grow(1)
    await late.dht.find(KEY)
    assert 7190 < late.dht.endpoint.clock.seconds < 7210
    wrong = await late.dht.publish(KEY, provider(late.identity, sequence=1))
    assert wrong.stored == 0
    right = await late.dht.publish(KEY, provider(late.identity, sequence=2, now=late.dht.endpoint.now()))
    assert right.stored >= 6
    assert await found(nodes[0]) == {late.identity.peer_id}
    await nodes[0].dht.publish(KEY, provider(nodes[0].identity, now=nodes[0].dht.endpoint.now()))
    assert nodes[0].identity.peer_id in await found(late)


async def test_liars_about_time_move_nobody(overlay: Overlay) -> None:
    nodes = await overlay.grow(6)
    await overlay.grow(4, endpoint=Absurd)
    await nodes[0].dht.find(KEY)
    assert nodes[0].dht.endpoint.clock.seconds == 0


# Coming and going.


async def test_the_first_node_joins_as_soon_as_somebody_comes(overlay: Overlay) -> None:
    [first] = await overlay.grow(1)
    assert not first.dht.joined.is_set()
    await overlay.grow(1)
    with trio.fail_after(PATIENCE_S):
        await first.dht.joined.wait()


async def test_contacts_of_last_time_are_a_way_in(overlay: Overlay) -> None:
    nodes = await overlay.grow(5)
    await until(lambda: len(nodes[0].dht.contacts()) == 4)
    kept = [contact.address for contact in nodes[0].dht.contacts()]
    await overlay.kill(nodes[:2])
    late = await overlay.start(ways_in=lambda: kept)
    await until(lambda: {node.dht.node_id for node in nodes[2:]} <= {one.id for one in late.dht.contacts()})


async def test_a_hint_is_a_way_in(overlay: Overlay) -> None:
    nodes = await overlay.grow(3)
    late = await overlay.start(ways_in=tuple)
    late.dht.hint(nodes[0].address)
    await until(lambda: len(late.dht.contacts()) == 3)
    with trio.fail_after(PATIENCE_S):
        await late.dht.joined.wait()


@pytest.mark.parametrize("told", [True, False])
async def test_after_all_that_were_known_are_gone_it_joins_anew(overlay: Overlay, told: bool, shorten: Shorten) -> None:
    """Told that the network has changed, or left to notice by itself."""
    ways: list[tuple[str, int]] = []
    old = await overlay.grow(6)
    survivor = await overlay.start(ways_in=lambda: ways)
    survivor.dht.hint(old[0].address)
    await until(lambda: len(survivor.dht.contacts()) == 6)
    if not told:
        shorten(module, "SILENCE_TIMEOUT_S", 0.05)
        shorten(module, "MAINTENANCE_INTERVAL_S", 0.05)
        survivor.dht.rejoin()  # the pause that has begun is still the long one
    await overlay.kill(old)
    if told:
        await survivor.dht.find(KEY)
        assert len(survivor.dht.contacts()) == 6, "while nobody at all is heard the fault may be here"
    overlay.nodes.clear()
    new = await overlay.grow(6)
    ways.append(new[0].address)
    if told:
        survivor.dht.rejoin()
    ids = {node.dht.node_id for node in new}
    await until(lambda: ids <= {contact.id for contact in survivor.dht.contacts()})
    await survivor.dht.find(KEY)
    await survivor.dht.find(survivor.dht.node_id)
    assert {contact.id for contact in survivor.dht.contacts()} == ids, "the dead are forgotten"


async def test_two_nodes_with_one_key(overlay: Overlay) -> None:
    """A home that was copied: neither breaks anything for the others, and both can read and publish."""
    nodes = await overlay.grow(5)
    identity = Identity.generate()
    twins = [await overlay.start(identity=identity) for _ in range(2)]
    for number, twin in enumerate(twins):
        key = H("of a twin", bytes([number]))[:20]
        assert (await twin.dht.publish(key, provider(identity, key))).stored >= 4
        assert await found(nodes[0], key) == {identity.peer_id}
    assert len(await found(twins[0], H("of a twin", b"\1")[:20])) == 1


async def test_cancelled_in_the_midst_of_everything_nothing_is_left(overlay: Overlay) -> None:
    nodes = await overlay.grow(5)
    async with trio.open_nursery() as busy:
        for node in nodes:
            for number in range(4):
                key = H("busy", bytes([number]))[:20]
                busy.start_soon(node.dht.publish, key, provider(node.identity, key))
                busy.start_soon(partial(node.dht.get, key, RecordKind.PROVIDER))
        await until(lambda: all(node.dht.endpoint._pending for node in nodes))
        busy.cancel_scope.cancel()
    assert not any(node.dht.endpoint._pending for node in nodes)
    await overlay.kill(list(nodes))
    assert all(node.dht.endpoint._socket.fileno() == -1 for node in nodes)


async def test_without_anybody_nothing_is_found_and_nothing_raised(overlay: Overlay) -> None:
    alone = await overlay.start(ways_in=tuple)
    assert (await alone.dht.find(KEY)).near == []
    assert (await alone.dht.publish(KEY, provider(alone.identity))).stored == 0
    assert await found(alone) == set()


async def test_garbage_from_all_sides_stops_nobody(overlay: Overlay, bare: Bare, shorten: Shorten) -> None:
    shorten(admission, "QUERIES_PER_S", 20)
    shorten(admission, "QUERY_BURST", 40)
    nodes = await overlay.grow(5)
    async with trio.open_nursery() as flood:

        async def pour() -> None:
            while True:
                for node in nodes:
                    query = bare.codec.write(FindValue(os.urandom(NUMBER_BYTES), node.dht.node_id, KEY))
                    for junk in (os.urandom(overlay.random.randrange(1300)), query[:-1], query):
                        await bare.socket.sendto(junk, node.address)
                await trio.lowlevel.checkpoint()

        flood.start_soon(pour)
        await until(lambda: all(node.dht.endpoint.counts["limited"] for node in nodes))
        assert (await nodes[0].dht.publish(KEY, provider(nodes[0].identity))).stored >= 3
        assert await found(nodes[4]) == {nodes[0].identity.peer_id}
        flood.cancel_scope.cancel()
