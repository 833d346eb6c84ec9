"""Floods of the DHT from a few networks, with an honest publisher beside them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio

from p2p.core.dht import recordstore
from p2p.identity import Identity
from p2p.wire import records
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
