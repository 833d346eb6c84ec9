"""Many nodes of the DHT in one process, each at an address of its own in 127.0.0.0/8, and hostile ones among them.

The addresses are spread over prefixes as on the Internet (mostly a /24 each, now and then two), so rate limits and
prefix quotas stay on. No work is asked for. Everything is seeded but the keys and the operating system's timing.
"""

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import trio
import trio.testing

from p2p.core.dht.routing import Contact
from p2p.identity import Identity
from p2p.ids import H, ShareId
from p2p.net.datagrams import Endpoint, open_socket
from p2p.net.dht import Address, Dht
from p2p.wire import records
from p2p.wire.datagrams import (
    MAX_DATAGRAM_BYTES,
    Answer,
    DatagramCodec,
    FindNode,
    FindValue,
    Nodes,
    Query,
    Values,
    pack_contacts,
)
from p2p.wire.records import Provider, Record
from p2p.wire.tracker import provider_key

NETWORK = "simulation"
PORT = 7474
JOIN_AT_ONCE = 4
FLOOD_PER_S = 200


@dataclass(eq=False)
class SimulatedNode:
    """One node. Cancelling `scope` ends it: its socket is closed and no other node is told."""

    identity: Identity
    dht: Dht
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def address(self) -> Address:
        return self.dht.endpoint.address

    def record(self, key: bytes, *, age_s: int = 0) -> Callable[[str], Record]:
        """Makes a provider record for the host at which storers see this node."""
        now = int(time.time()) - age_s

        def make(host: str) -> Record:
            return records.seal(
                self.identity, NETWORK, key, Provider(((host, PORT),)), sequence=now, now=now, lasts_s=records_last()
            )

        return make


def records_last() -> int:
    return records.LONGEST_S[records.RecordKind.PROVIDER]


class Overlay:
    """The nodes, and who started them."""

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self._nursery = nursery
        self.random = Random(seed)
        self.nodes: list[SimulatedNode] = []
        self.hostile: list[SimulatedNode] = []
        self.join_seconds: list[float] = []
        self.join_queries: list[int] = []
        self._hosts: set[str] = set()

    async def grow(self, count: int, kind: type[Dht] = Dht) -> None:
        """Starts nodes; each joins through three existing ones."""
        limit = trio.CapacityLimiter(JOIN_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                node = await self._start(kind)
                await limit.acquire_on_behalf_of(node)
                nursery.start_soon(self._join, node, limit)

    async def add(self, kind: type[Dht], identity: Identity, nonce: bytes, host: str) -> SimulatedNode:
        """Starts one node that is made by the caller, and joins it."""
        self._hosts.add(host)
        node = await self._start(kind, identity, nonce, host)
        await self._join(node, None)
        return node

    async def kill(self, count: int) -> None:
        """Ends this many nodes at once, without telling any other."""
        for node in self.random.sample(self.nodes, count):
            node.scope.cancel()
            self.nodes.remove(node)
        await trio.testing.wait_all_tasks_blocked(0.05)

    def some(self) -> SimulatedNode:
        return self.random.choice(self.nodes)

    async def _start(
        self, kind: type[Dht], identity: Identity | None = None, nonce: bytes = bytes(8), host: str | None = None
    ) -> SimulatedNode:
        identity = identity or Identity.generate()
        codec = DatagramCodec(identity, nonce, NETWORK, 0)
        endpoint = Endpoint(codec, open_socket(host or self._host(), PORT))
        node = SimulatedNode(identity, kind(endpoint, self._ways_in, local_exempt=False, random=self.random))
        if isinstance(node.dht, HostileDht):
            node.dht.gang = self.hostile
            self.hostile.append(node)
        else:
            self.nodes.append(node)
        await self._nursery.start(self._run, node)
        return node

    async def _run(self, node: SimulatedNode, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with node.scope:
            await node.dht.run(task_status=task_status)

    async def _join(self, node: SimulatedNode, limit: trio.CapacityLimiter | None) -> None:
        others = [other for other in (*self.nodes, *self.hostile) if other is not node and other.dht.joined.is_set()]
        ways = self.random.sample(others, min(3, len(others)))
        started, before = trio.current_time(), node.dht.endpoint.counts["queries"]
        await node.dht.join([other.address for other in ways] or [self.nodes[0].address])
        node.dht.joined.set()
        self.join_seconds.append(trio.current_time() - started)
        self.join_queries.append(node.dht.endpoint.counts["queries"] - before)
        if limit is not None:
            limit.release_on_behalf_of(node)

    def _ways_in(self) -> Sequence[Address]:
        """No addresses to join through: a simulated node that has lost all others must not recover unnoticed."""
        return ()

    def _host(self) -> str:
        while True:
            prefixes = [host.rpartition(".")[0] for host in self._hosts]
            if prefixes and self.random.random() < 0.2:
                network = self.random.choice(prefixes)
            else:
                network = f"127.{self.random.randint(1, 254)}.{self.random.randint(0, 255)}"
            host = f"{network}.{self.random.randint(1, 254)}"
            if host not in self._hosts:
                self._hosts.add(host)
                return host


class HostileDht(Dht):
    """A node that answers queries in a hostile way."""

    gang: list[SimulatedNode]

    def _near(self, target: bytes, count: int) -> bytes:
        """Ids that nobody has, right at the target, at addresses of the gang and of nobody."""
        contacts = []
        for _ in range(count):
            near = target[:-4] + os.urandom(4)
            host = self._random.choice(self.gang).address[0] if self._random.random() < 0.5 else "127.255.255.1"
            contacts.append((near, host, PORT))
        return pack_contacts(contacts)


class Silent(HostileDht):
    """Takes part until it is asked for nodes or records, and then is silent."""

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        return None if isinstance(query, FindNode | FindValue) else super()._serve(query, contact, budget)


class Lying(HostileDht):
    """Names nodes that are nearest of all, but do not exist."""

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        answer = super()._serve(query, contact, budget)
        match answer, query:
            case Nodes(), FindNode(target=target):
                return Nodes(answer.number, answer.to, answer.now, answer.seen, answer.token, self._near(target, 20))
            case Values(), FindValue(key=target):
                few = self._near(target, 20)
                return Values(answer.number, answer.to, answer.now, answer.seen, answer.token, few, (), 0)
            case _:
                return answer


class Forging(HostileDht):
    """Answers with records that are unsigned, belong to another key, or expired long ago."""

    def _serve(self, query: Query, contact: Contact, budget: int) -> Answer | None:
        answer = super()._serve(query, contact, budget)
        if not isinstance(answer, Values) or not isinstance(query, FindValue):
            return answer
        maker = SimulatedNode(self.endpoint.codec._identity, self)
        over = maker.record(query.key, age_s=3 * 3600)(self.endpoint.address[0]).raw
        forged = bytearray(maker.record(query.key)(self.endpoint.address[0]).raw)
        forged[self._random.randrange(64)] ^= 1
        other = maker.record(H("other")[:20])(self.endpoint.address[0]).raw
        return Values(
            answer.number, answer.to, answer.now, answer.seen, answer.token, b"", (over, bytes(forged), other), 3
        )


class Flooding(HostileDht):
    """Sends many messages, valid and invalid, to every node that it can find."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._flood)
            await super().run(task_status=task_status)

    async def _flood(self) -> None:
        while True:
            await trio.sleep(10 / FLOOD_PER_S)
            for contact in self._random.sample(self.contacts(), min(10, len(self.table))):
                message = FindNode(os.urandom(12), contact.id, os.urandom(20))
                signed = self.endpoint.codec.write(message)
                junk = os.urandom(self._random.randrange(MAX_DATAGRAM_BYTES))
                torn = signed[: self._random.randrange(len(signed))]
                self.endpoint._send(self._random.choice((signed, junk, torn)), contact.address)


def share_key(name: str) -> tuple[ShareId, bytes]:
    """The id of a share with this name, and the key of its provider records."""
    share = ShareId(H("simulated", name.encode()))
    return share, provider_key(share)


def more_descriptors() -> None:
    """Raises the soft limit on open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
