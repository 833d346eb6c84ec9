"""Nodes of the DHT on loopback, each under an address prefix of its own as on the Internet, and a bare socket."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

import trio

from p2p.core.dht.routing import Contact
from p2p.identity import Identity
from p2p.ids import H
from p2p.net.datagrams import Endpoint, open_socket
from p2p.net.dht import Address, Dht
from p2p.wire import records
from p2p.wire.datagrams import NUMBER_BYTES, Answer, DatagramCodec, FindNode, Nodes, Query, Store, Stored, Values
from p2p.wire.records import Provider, Record

NETWORK = "overlay"
PORT = 7474
PATIENCE_S = 30.0
KEY = H("a share")[:20]


@dataclass(eq=False)
class Running:
    """A node, and how to end it without telling any other."""

    identity: Identity
    dht: Dht
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def address(self) -> Address:
        return self.dht.endpoint.address

    @property
    def contact(self) -> Contact:
        return Contact(self.dht.node_id, *self.address)

    async def kill(self) -> None:
        self.scope.cancel()
        await self.ended.wait()


class Overlay:
    """Nodes that join through the first of those that run."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.nodes: list[Running] = []
        self._count = 0
        self.random = Random(1)

    async def grow(self, count: int, kind: type[Dht] = Dht, endpoint: type[Endpoint] = Endpoint) -> list[Running]:
        """Starts this many more nodes; returns once they have joined."""
        return [await self.start(kind, endpoint) for _ in range(count)]

    async def start(
        self,
        kind: type[Dht] = Dht,
        endpoint: type[Endpoint] = Endpoint,
        *,
        host: str | None = None,
        identity: Identity | None = None,
        ways_in: Callable[[], Iterable[Address]] | None = None,
        local_exempt: bool = False,
    ) -> Running:
        """Starts a node; it has joined if it knew another node."""
        self._count += 1
        identity = identity or Identity.generate()
        udp = open_socket(host or f"127.{self._count // 250 + 1}.{self._count % 250}.1", 0)
        first = [node.address for node in self.nodes[:3]]
        dht = kind(
            endpoint(DatagramCodec(identity, bytes(8), NETWORK, 0), udp),
            ways_in or (lambda: first),
            local_exempt=local_exempt,
            random=self.random,
        )
        node = Running(identity, dht)
        await self._nursery.start(self._run, node)
        if first and ways_in is None:
            with trio.fail_after(PATIENCE_S):
                await dht.joined.wait()
        self.nodes.append(node)
        return node

    async def kill(self, nodes: Sequence[Running]) -> None:
        for node in nodes:
            self.nodes.remove(node)
            await node.kill()

    async def _run(self, node: Running, *, task_status: trio.TaskStatus[None]) -> None:
        with node.scope:
            await node.dht.run(task_status=task_status)
        node.ended.set()


def provider(
    identity: Identity, key: bytes = KEY, *, sequence: int = 1, now: float | None = None
) -> Callable[[str], Record]:
    """Returns a function that makes records of the publisher as a provider of the share, for any host of its own."""
    at = int(time.time() if now is None else now)

    def make(host: str) -> Record:
        return records.seal(identity, NETWORK, key, Provider(((host, PORT),)), sequence=sequence, now=at, lasts_s=7200)

    return make


class Bare:
    """A node that is only a socket: it sends what a test tells it to, and receives all that comes back."""

    def __init__(self, host: str = "127.200.0.1") -> None:
        self.identity = Identity.generate()
        self.codec = DatagramCodec(self.identity, bytes(8), NETWORK, 0)
        self.stdlib = open_socket(host, 0)
        self.socket = trio.socket.from_stdlib_socket(self.stdlib)

    @property
    def contact(self) -> Contact:
        return Contact(self.codec.node_id, *self.socket.getsockname()[:2])

    async def send(self, message: Query, to: Running) -> int:
        data = self.codec.write(message)
        await self.socket.sendto(data, to.address)
        return len(data)

    async def receive(self) -> bytes:
        with trio.fail_after(PATIENCE_S):
            return await self.socket.recv(65536)

    async def ask(self, message: Query, to: Running) -> Answer:
        """Sends the query and waits for its answer; other messages are dropped."""
        await self.send(message, to)
        while True:
            answer = self.codec.read(await self.receive()).message
            if isinstance(answer, Answer) and answer.number == message.number:
                return answer

    async def token(self, of: Running) -> bytes:
        answer = await self.ask(FindNode(os.urandom(NUMBER_BYTES), of.dht.node_id, bytes(20)), of)
        assert isinstance(answer, Nodes | Values)
        return answer.token

    async def store(self, token: bytes, key: bytes, raw: bytes, at: Running) -> str:
        """Stores the record; returns why it was refused, or an empty text."""
        answer = await self.ask(Store(os.urandom(NUMBER_BYTES), at.dht.node_id, token, key, raw), at)
        assert isinstance(answer, Stored)
        return answer.refused
