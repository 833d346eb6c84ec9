"""The members of a cluster, as its owner sees them: the one on its own machine, and those at other peers."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import trio

from p2p.cluster.member import Event, Member
from p2p.concurrency.walls import Wall
from p2p.core.cluster.allocations import BEAT_S, Allocation, State
from p2p.core.ledger import Room
from p2p.errors import PeerError, ProtocolViolation, Refused
from p2p.ids import PeerId
from p2p.net.connection import Connection
from p2p.net.conversation import conversation
from p2p.net.pace import Pace
from p2p.wire import cluster as wire
from p2p.wire.address import Address
from p2p.wire.frames import DataHeader
from p2p.wire.messages import Failed

SEAT = Wall("conversation with a member")

ASK_TIMEOUT_S = 20.0
WATCH_INTERVAL_S = 0.5
FAREWELL_TIMEOUT_S = 2.0

Heard = Callable[[int, Event], Awaitable[None]]
"""Takes what a member's program printed, or how it ended; the member by its index."""


class Seat(Protocol):
    """One member: its index, whose machine it is on, and what may be asked of it."""

    index: int
    label: str
    """What the engine calls it."""
    peer: PeerId
    room: Room

    @property
    def state(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    @property
    def addresses(self) -> tuple[Address, ...]: ...

    async def start(self, asked: wire.StartProcess) -> None: ...

    async def signal(self, asked: wire.SignalProcess) -> None: ...

    async def rename(self, members: tuple[wire.ClusterMember, ...]) -> None:
        """Tells it who the members are now."""


class OwnSeat:
    """The member on the owner's own machine, which has index 0."""

    def __init__(self, peer: PeerId, room: Room, addresses: tuple[Address, ...]) -> None:
        self.index = 0
        self.label = "m0"
        self.epoch = 1
        self.peer = peer
        self.room = room
        self.addresses = addresses
        self.member: Member | None = None

    @property
    def state(self) -> str:
        return "preparing" if self.member is None else "ready"

    async def start(self, asked: wire.StartProcess) -> None:
        if self.member is not None:
            await self.member.start(asked)

    async def signal(self, asked: wire.SignalProcess) -> None:
        if self.member is not None:
            await self.member.signal(asked)

    async def rename(self, members: tuple[wire.ClusterMember, ...]) -> None:
        if self.member is not None:
            await self.member.rename(members)


class LentSeat:
    """A member at another peer, over the connection of its allocation."""

    def __init__(self, connection: Connection, ask: wire.AskAllocation) -> None:
        self.index = -1
        self.label = ""
        self.epoch = 1
        self.peer = connection.ends.peer_id
        self.room = Room(ask.room.cores, ask.room.memory, ask.room.disk)
        self.doing = wire.Preparing("")
        """What it says that it is doing until it is ready, and how far it is."""
        self.ready = trio.Event()
        self.over = trio.Event()
        self.working = trio.Event()
        """Set once the engine runs there, or never will."""
        self._connection = connection
        self._allocation = Allocation(trio.current_time(), ask.seconds)
        self._ask = ask
        self._scope = trio.CancelScope()

    @property
    def state(self) -> str:
        return self._allocation.state.value

    @property
    def reason(self) -> str:
        """Why it ended, or is going to; for people."""
        return self._allocation.reason

    @property
    def addresses(self) -> tuple[Address, ...]:
        claimed = self._connection.ends.claimed_address
        return () if claimed is None else (claimed,)

    async def ask(self) -> None:
        """Asks for the room. Raises Refused with the peer's reason; another PeerError."""
        with trio.move_on_after(ASK_TIMEOUT_S):
            await self._connection.send(self._ask)
            match await self._connection.receive():
                case wire.OfferAllocation():
                    self._allocation.move(State.OFFERED, trio.current_time())
                    self._allocation.heard(trio.current_time())
                    return
                case wire.RefuseAllocation(reason=reason):
                    raise Refused(reason)
                case Failed():
                    raise Refused("its version of Shoal has no clusters")
                case _:
                    raise ProtocolViolation("something else where its offer belongs")
        raise Refused(f"it did not answer within {ASK_TIMEOUT_S:.0f} seconds")

    async def keep(self) -> None:
        """Says now and then that this side is there, until cancelled: the peer keeps its offer for so long."""
        while True:
            await trio.sleep(BEAT_S)
            with trio.CancelScope(shield=True), trio.move_on_after(FAREWELL_TIMEOUT_S):  # a part would end the rest
                await self._say(wire.StillThere())

    async def run(self, grant: wire.GrantAllocation, heard: Heard) -> None:
        """Takes the offer, and holds the conversation until the allocation is over; `reason` says why then.

        However it ends, the peer is told if it can be.
        """
        allocation = self._allocation
        try:
            with self._scope:
                allocation.move(State.PREPARING, trio.current_time())
                allocation.heard(trio.current_time())
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._beat)
                    nursery.start_soon(self._watch)
                    try:
                        await self._connection.send(grant)
                        async with conversation(self._connection):
                            await self._listen(heard)
                    except PeerError as error:
                        allocation.end(str(error))
                    nursery.cancel_scope.cancel()
        finally:
            allocation.end("the cluster is stopped")
            with trio.CancelScope(shield=True), suppress(PeerError), trio.move_on_after(FAREWELL_TIMEOUT_S):
                await self._connection.send(wire.EndAllocation("the cluster is stopped"))
            self._connection.close()
            self.over.set()
            self.working.set()

    def end(self, reason: str) -> None:
        """Ends the allocation."""
        self._allocation.end(reason)
        self._scope.cancel()

    def close(self) -> None:
        """Gives back an offer that was not taken."""
        self._connection.close()

    async def start(self, asked: wire.StartProcess) -> None:
        await self._say(asked)

    async def signal(self, asked: wire.SignalProcess) -> None:
        await self._say(asked)

    async def rename(self, members: tuple[wire.ClusterMember, ...]) -> None:
        await self._say(wire.ClusterMembers(members))

    async def _say(self, message: wire.AnyCluster) -> None:
        with suppress(PeerError):  # `run` hears it too
            await self._connection.send(message)

    async def _listen(self, heard: Heard) -> None:
        allocation = self._allocation
        pace = Pace(self._connection)
        while True:
            said = await self._connection.receive()
            if isinstance(said, DataHeader):
                raise ProtocolViolation("data that nobody asked for")
            await pace.spend(said)
            now = trio.current_time()
            allocation.heard(now)
            match said:
                case wire.StillThere():
                    pass
                case wire.Preparing() if allocation.state is State.PREPARING:
                    self.doing = said
                case wire.AllocationReady() if allocation.state is State.PREPARING:
                    allocation.move(State.READY, now)
                    self.ready.set()
                case wire.ProcessOutput() | wire.ProcessEnded():
                    await heard(self.index, said)
                case wire.EndAllocation(reason=reason, notice_s=0):
                    allocation.end(reason or "it has ended the allocation")
                    return
                case wire.EndAllocation(reason=reason, notice_s=notice_s):
                    allocation.leave(reason, now, notice_s)
                case _:
                    raise ProtocolViolation(f"a {type(said).__name__} where it has no meaning")

    async def _beat(self) -> None:
        while True:
            await trio.sleep(BEAT_S)
            await self._say(wire.StillThere())

    async def _watch(self) -> None:
        while True:
            await trio.sleep(WATCH_INTERVAL_S)
            if self._allocation.due(trio.current_time()):
                break
        self._scope.cancel()
