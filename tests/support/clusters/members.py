"""Members of a cluster's network: peers of their own on loopback, each with a box."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import trio

from p2p.cluster.network.network import MemberAt, Network, OwnMember, open_network
from p2p.concurrency.throttle import Throttle
from p2p.ids import PeerId
from p2p.net import listener
from p2p.net.connection import Connection
from p2p.net.dialer import Dialer
from p2p.net.router import Router
from p2p.wire.address import Address
from p2p.wire.cluster import Packets
from tests.support.clusters.wires import Wire, wire
from tests.support.pipes import make_dialer

PATIENCE_S = 30.0
CLUSTER = bytes(range(16))


class Sandbox(Protocol):
    """What has a network of its own, of which some process is known."""

    pid: int


class Member:
    """A peer that is a member: it listens on loopback, and dials the others."""

    def __init__(self, index: int, dialer: Dialer) -> None:
        self.index = index
        self.dialer = dialer
        self.connections: list[Connection] = []
        """All that it dialled or accepted."""
        self.wire: Wire | None = None
        self.epoch = 0
        self.network: Network

    @property
    def at(self) -> MemberAt:
        port = self.wire.port if self.wire else self.dialer.port
        return MemberAt(self.index, self.peer, self.epoch, (Address("127.0.0.1", port),))

    @property
    def peer(self) -> PeerId:
        return self.dialer.identity.peer_id

    async def dial(self, other: MemberAt) -> Connection:
        connection = await self.dialer.dial(other.addresses[0], other.peer)
        self.connections.append(connection)
        return connection

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Accepts connections until cancelled."""
        router = Router()
        router.add(openings={Packets: self._welcome})
        listeners = await listener.open_listeners([Address("127.0.0.1", 0)])
        self.dialer.port = listener.bound_address(listeners[0]).port
        await listener.run(
            listeners, self.dialer, listener.Admission(99, 99, 9), router.converse, task_status=task_status
        )

    async def _welcome(self, connection: Connection, message: Packets) -> bool:
        self.connections.append(connection)
        return await self.network.welcome(connection, message)

    @asynccontextmanager
    async def joined(self, box: Sandbox, epoch: int = 0, upload: int = 0, download: int = 0) -> AsyncIterator[Network]:
        """Has the box in the cluster's network."""
        self.epoch = epoch
        own = OwnMember(CLUSTER, self.index, epoch)
        async with open_network(box.pid, own, self.dial, Throttle(upload), Throttle(download)) as self.network:
            yield self.network


@asynccontextmanager
async def members(folder: Path, boxes: Sequence[Sandbox]) -> AsyncIterator[list[Member]]:
    """Members in these boxes, all connected. Whoever dials number 0 does so by a wire, if it has one."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        made = [Member(index, make_dialer(folder / f"m{index}")) for index in range(len(boxes))]
        for member in made:
            await nursery.start(member.serve)
        made[0].wire = await stack.enter_async_context(wire(made[0].dialer.port))
        for member, box in zip(made, boxes, strict=True):
            await stack.enter_async_context(member.joined(box))
            await member.network.meet(one.at for one in made)
        with trio.fail_after(PATIENCE_S):
            for member in made:
                await member.network.complete()
        yield made
        await stack.aclose()
        nursery.cancel_scope.cancel()
