"""Attacks on one key of a simulated DHT: a flood of records, and identities that were made to be near it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
import trio.testing

from p2p.core.dht.routing import Contact
from p2p.identity import Identity
from p2p.ids import PeerId
from p2p.net.datagrams import Endpoint, head_of
from p2p.wire import nodeid, records
from p2p.wire.datagrams import Answer, FindNode, FindValue, Nodes, Query, Store, Stored, Values, pack_contacts
from p2p.wire.records import RecordKind
from scripts.bench.support.overlay import NETWORK, HostileDht, Overlay, SimulatedNode

READERS = 20
FLOODED = 24
"""At how many of the nodes nearest to a key a flood stores its records."""
PUBLISHERS_PER_HOST = 8


class Sybil(HostileDht):
    """Names others of its gang only, says that it keeps records, and keeps none."""

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        head = head_of(query, contact, self.endpoint.now())
        match query:
            case FindNode(target=target):
                return Nodes(*head, bytes(8), self._gang_near(target, 20))
            case FindValue(key=key):
                return Values(*head, bytes(8), self._gang_near(key, 20), (), 0)
            case Store():
                return Stored(*head)
            case _:
                return super()._serve(query, contact, budget)

    def _wants(self, query: Query, contact: Contact) -> bool:
        return True

    def _gang_near(self, target: bytes, count: int) -> bytes:
        near = sorted(self.gang, key=lambda node: _distance(node.dht.node_id, target))
        return pack_contacts((node.dht.node_id, *node.address) for node in near[:count])


@dataclass
class Found:
    """How many of `READERS` found an honest record: by an ordinary read, and by a thorough one; and what it took."""

    ordinary: int = 0
    thorough: int = 0
    ordinary_queries: float = 0
    thorough_queries: float = 0
    stored: int = 0
    """How many honest nodes keep the record."""


@asynccontextmanager
async def crowd(overlay: Overlay, key: bytes, ids: int, networks: int) -> AsyncIterator[None]:
    """This many identities nearer to the key than any honest node, in /24s, each of which is in a /16 of its own."""
    nearest = min(_distance(node.dht.node_id, key) for node in overlay.nodes)
    for number in range(ids):
        identity = Identity.generate()
        nonce = _nonce_near(identity, key, nearest // 2)
        host = f"127.{1 + number % networks}.254.{1 + number // networks}"
        await overlay.add(Sybil, identity, nonce, host)
    try:
        yield
    finally:
        for node in overlay.hostile:
            node.scope.cancel()
        overlay.hostile.clear()
        await trio.testing.wait_all_tasks_blocked(0.05)


async def flood(overlay: Overlay, key: bytes, hosts: int) -> int:
    """Has hosts in /24s of their own store records at the nodes nearest to the key. Returns how many were taken."""
    near = sorted(overlay.nodes, key=lambda node: _distance(node.dht.node_id, key))[:FLOODED]
    taken = 0
    for number in range(hosts):
        attacker = await overlay.add(HostileDht, Identity.generate(), bytes(8), f"127.{1 + number}.253.1")
        for _ in range(PUBLISHERS_PER_HOST):
            raw = SimulatedNode(Identity.generate(), attacker.dht).record(key)(attacker.address[0]).raw
            for node in near:
                taken += await _store(attacker.dht.endpoint, Contact(node.dht.node_id, *node.address), key, raw)
    return taken


async def _store(endpoint: Endpoint, node: Contact, key: bytes, raw: bytes) -> bool:
    asked = await endpoint.ask(node, lambda number, to: FindNode(number, to, key))
    if asked is None or not isinstance(asked.answer, Nodes):
        return False
    token = asked.answer.token
    reply = await endpoint.ask(node, lambda number, to: Store(number, to, token, key, raw))
    return reply is not None and isinstance(reply.answer, Stored) and not reply.answer.refused


async def publish_and_read(overlay: Overlay, key: bytes) -> Found:
    """An honest node publishes, and others read."""
    publisher = overlay.some()
    for _ in range(3):  # lookups of other keys, as a peer does all the time
        await publisher.dht.find(os.urandom(20))
    await publisher.dht.publish(key, publisher.record(key))
    honest = publisher.identity.peer_id
    others = [node for node in overlay.nodes if not _keeps(node, key, honest)]
    found = Found(stored=len(overlay.nodes) - len(others))
    readers = overlay.random.sample([node for node in others if node is not publisher], READERS)
    for reader in readers:
        await reader.dht.find(os.urandom(20))
        ordinary = await reader.dht.get(key, RecordKind.PROVIDER)
        found.ordinary += any(record.publisher == honest for record in ordinary.found.values())
        found.ordinary_queries += ordinary.asked / len(readers)
        thorough = await reader.dht.get(key, RecordKind.PROVIDER, enough=None, thoroughly=True)
        found.thorough += any(record.publisher == honest for record in thorough.found.values())
        found.thorough_queries += thorough.asked / len(readers)
    return found


def _keeps(node: SimulatedNode, key: bytes, publisher: PeerId) -> bool:
    now = node.dht.endpoint.now()
    kept = (records.read(raw, key, now, NETWORK) for raw in node.dht.store.get(key, now))
    return any(record.publisher == publisher for record in kept)


def _distance(node_id: bytes, key: bytes) -> int:
    return int.from_bytes(node_id, "big") ^ int.from_bytes(key, "big")


def _nonce_near(identity: Identity, key: bytes, distance: int) -> bytes:
    while True:
        nonce = os.urandom(8)
        if _distance(nodeid.node_id(identity.peer_id, nonce), key) < distance:
            return nonce
