"""Floods of the DHT from a few networks, with an honest publisher beside them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar

import pytest
import trio

from p2p.core.dht import recordstore
from p2p.core.dht.routing import Contact, K
from p2p.identity import Identity
from p2p.ids import H
from p2p.net.datagrams import head_of
from p2p.net.dht import Dht
from p2p.wire import records
from p2p.wire.datagrams import Answer, FindNode, FindValue, Nodes, Query, Store, Stored, Values, pack_contacts
from p2p.wire.nodeid import node_id
from p2p.wire.records import Pointer, RecordKind
from tests.support.constants import Shorten
from tests.support.dht_overlay import KEY, NETWORK, Bare, Overlay, Running, provider

HOSTS = [f"127.{210 + number}.0.1" for number in range(8)]
"""Eight hosts in eight /24s, each in a /16 of its own."""


@pytest.fixture
def overlay(nursery: trio.Nursery) -> Overlay:
    return Overlay(nursery)


@contextmanager
def crowd() -> Iterator[list[Bare]]:
    with ExitStack() as opened:
        yield [opened.enter_context(_open(host)) for host in HOSTS]


@contextmanager
def _open(host: str) -> Iterator[Bare]:
    bare = Bare(host)
    with bare.socket:
        yield bare


async def flood_key(attackers: list[Bare], at: list[Running], publishers: int) -> int:
    """Has each attacker store records of this many publishers at all of the nodes. Returns how many were taken."""
    taken = 0
    for attacker, host in zip(attackers, HOSTS, strict=True):
        made = [provider(Identity.generate())(host).raw for _ in range(publishers)]
        for node in at:
            token = await attacker.token(node)
            for raw in made:
                taken += await attacker.store(token, KEY, raw, node) == ""
    return taken


async def test_eight_networks_that_flood_a_key_hide_nobody(overlay: Overlay) -> None:
    """Both an honest record that was there before, and one that comes when the key has long been full."""
    nodes = await overlay.grow(6)
    with crowd() as attackers:
        await nodes[0].dht.publish(KEY, provider(nodes[0].identity))
        assert await flood_key(attackers, nodes, 8) >= 8 * 8 * 5
        assert all(len(node.dht.store.get(KEY, time.time())) == recordstore.MAX_PER_KEY for node in nodes)
        done = await nodes[1].dht.publish(KEY, provider(nodes[1].identity))
        assert done.stored >= 4, done.refused
        assert await flood_key(attackers, nodes, 2) < 8 * 2 * 6, "a few are nearer to the key than others of their own"
    honest = {nodes[0].identity.peer_id, nodes[1].identity.peer_id}
    for reader in nodes:
        found = await reader.dht.get(KEY, RecordKind.PROVIDER, enough=None)
        assert honest <= {record.publisher for record in found.found.values()}


async def test_a_node_full_of_pointers_for_a_month_keeps_what_others_store(overlay: Overlay, shorten: Shorten) -> None:
    shorten(recordstore, "MAX_RECORDS", 64)
    nodes = await overlay.grow(3)
    now = int(time.time())
    with crowd() as attackers:
        for attacker in attackers:
            for node in nodes:
                token = await attacker.token(node)
                for number in range(12):
                    name = f"n{number}"
                    key = records.pointer_key(attacker.identity.peer_id, name)
                    month = 30 * 24 * 3600
                    pointer = records.seal(
                        attacker.identity, NETWORK, key, Pointer(name, bytes(32)), sequence=1, now=now, lasts_s=month
                    )
                    await attacker.store(token, key, pointer.raw, node)
    assert [len(node.dht.store) for node in nodes] == [64, 64, 64]
    assert (await nodes[0].dht.publish(KEY, provider(nodes[0].identity))).stored == 2
    found = await nodes[2].dht.get(KEY, RecordKind.PROVIDER)
    assert {record.publisher for record in found.found.values()} == {nodes[0].identity.peer_id}


class Sybil(Dht):
    """Names others of its gang only, says that it keeps records, and keeps none."""

    gang: ClassVar[list[Running]] = []

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        head = head_of(query, contact, time.time())
        match query:
            case FindNode():
                return Nodes(*head, bytes(8), self._names())
            case FindValue():
                return Values(*head, bytes(8), self._names(), (), 0)
            case Store():
                return Stored(*head)
            case _:
                return super()._serve(query, contact, budget)

    def _wants(self, query: Query, contact: Contact) -> bool:
        return True

    def _names(self) -> bytes:
        return pack_contacts((one.dht.node_id, *one.address) for one in self.gang[:20])


def near(key: bytes, node_id: bytes) -> int:
    return int.from_bytes(node_id, "big") ^ int.from_bytes(key, "big")


async def test_a_crowd_of_identities_around_a_key_hides_no_record(overlay: Overlay) -> None:
    """Twenty in ten /24s are the nearest of all; what is published then is stored and read around them."""
    honest = await overlay.grow(28)
    publisher, *readers = honest[:6]
    for node in (publisher, *readers):
        for number in range(3):
            await node.dht.find(H("another", bytes([number]))[:20])
    own = publisher.dht.table.node  # it came first, when there was nobody
    now = own.distance_to(publisher.dht.table.find_neighbors(own)[K - 1]) / K
    assert publisher.dht._lookups.density._spacing[own.id] == now, "how close nodes are now, not when it joined"
    nearest = min(near(KEY, node.dht.node_id) for node in honest)
    Sybil.gang = []
    for number in range(20):
        identity = Identity.generate()
        while near(KEY, node_id(identity.peer_id, bytes(8))) >= nearest:
            identity = Identity.generate()
        host = f"127.{220 + number // 2}.0.{number + 1}"
        Sybil.gang.append(await overlay.start(Sybil, host=host, identity=identity))
    ordinary = (await publisher.dht.find(KEY)).near
    assert {one.id for one in ordinary} == {one.dht.node_id for one in Sybil.gang}, "the crowd has all the places"
    await publisher.dht.publish(KEY, provider(publisher.identity))
    kept = [node for node in honest if node is not publisher and node.dht.store.get(KEY, time.time())]
    assert len(kept) >= 5
    for reader in readers:
        found = await reader.dht.get(KEY, RecordKind.PROVIDER, thoroughly=True)
        assert {record.publisher for record in found.found.values()} == {publisher.identity.peer_id}
