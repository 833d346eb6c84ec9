"""Lends room of this machine to the clusters of owners that its user has listed: one allocation a conversation."""

import logging
import platform
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import trio

from p2p.cluster.answers import LentRow
from p2p.cluster.deps import Deps
from p2p.cluster.member import Member, MemberSpec, open_member, own_folder, registered
from p2p.concurrency.walls import Wall
from p2p.core.cluster.allocations import BEAT_S, Allocation, State
from p2p.core.ledger import Ledger, Room
from p2p.errors import PeerError, PeerGone, ProtocolViolation, SandboxFailed, ShoalError
from p2p.formats import format_size
from p2p.ids import PeerId, ShareId, short, to_text
from p2p.net.connection import Connection
from p2p.net.conversation import conversation
from p2p.net.pace import Pace
from p2p.progress import Progress
from p2p.wire import cluster as wire
from p2p.wire.frames import DataHeader
from p2p.wire.link import PeerHint

logger = logging.getLogger(__name__)

ALLOCATION = Wall("allocation")

WATCH_INTERVAL_S = 0.5
TOLD_INTERVAL_S = 1.0
FAREWELL_TIMEOUT_S = 2.0
MAX_ALLOCATIONS = 16


class Lending:
    """What this peer lends now. `members` are all members on this machine, by their clusters' ids."""

    def __init__(self, deps: Deps, ledger: Ledger, members: dict[bytes, Member], folder: Path) -> None:
        self._deps = deps
        self._ledger = ledger
        self._members = members
        self._folder = folder
        self._lent: dict[_Lent, None] = {}

    def rows(self) -> tuple[LentRow, ...]:
        """What is lent, for this peer's user."""
        return tuple(lent.row() for lent in self._lent)

    def may_read(self, share: ShareId, peer: PeerId) -> bool:
        """Whether a peer may read an environment that this one has as a member: both are in one cluster."""
        return any(lent.may_read(share, peer) for lent in list(self._lent))

    def unlisted(self, owner: PeerId) -> None:
        """Ends what an owner has: it is no longer listed."""
        for lent in self._lent:
            if lent.owner == owner:
                lent.leave("the owner is no longer listed there", 0)

    def leave(self, reason: str, notice_s: float) -> None:
        """Ends everything that is lent, after a notice."""
        for lent in self._lent:
            lent.leave(reason, notice_s)

    def stay(self) -> None:
        """Takes back the notices that were given."""
        for lent in self._lent:
            lent.stay()

    async def converse(self, connection: Connection, ask: wire.AskAllocation) -> None:
        """Answers an owner that is listed, and lends it what it asked for until either side ends that."""
        room = Room(ask.room.cores, ask.room.memory, ask.room.disk)
        lent = _Lent(self._deps, connection, ask, room, self._folder / to_text(ask.cluster))
        if reason := self._misfit(ask) or ("" if self._ledger.take(lent, room) else self._too_little(room)):
            await connection.send(wire.RefuseAllocation(reason[: wire.MAX_REASON_CHARS]))
            return
        self._lent[lent] = None
        try:
            self._deps.changed()
            await lent.run(self._members)
        finally:
            del self._lent[lent]
            self._ledger.give_back(lent)
            self._deps.changed()

    def _misfit(self, ask: wire.AskAllocation) -> str:
        if ask.machine and ask.machine != platform.machine():
            return f"it is a machine of {platform.machine()}, and the environment is for {ask.machine}"
        if ask.cluster in self._members or any(lent.ask.cluster == ask.cluster for lent in self._lent):
            return "it is a member of this cluster already"
        if len(self._lent) >= MAX_ALLOCATIONS:
            return f"it lends to {MAX_ALLOCATIONS} clusters already"
        return ""

    def _too_little(self, room: Room) -> str:
        free = self._ledger.free
        wants = f"{room.cores} cores, {format_size(room.memory)} of memory and {format_size(room.disk)} of disk"
        has = f"{free.cores} cores, {format_size(free.memory)} and {format_size(free.disk)}"
        return f"{wants} are asked for; it has {has} free"


class _Lent:
    """One allocation, as the member sees it."""

    def __init__(self, deps: Deps, connection: Connection, ask: wire.AskAllocation, room: Room, folder: Path) -> None:
        self.owner = connection.ends.peer_id
        self.ask = ask
        self._deps = deps
        self._connection = connection
        self._room = room
        self._folder = folder
        self._since = trio.current_time()
        self._allocation = Allocation(self._since, ask.seconds)
        self._member: Member | None = None
        self._named: tuple[wire.ClusterMember, ...] = ()
        self._environment: ShareId | None = None
        self._over = trio.CancelScope()
        self._progress = Progress()

    def row(self) -> LentRow:
        age_s = round(trio.current_time() - self._since, 1)
        return LentRow(to_text(self.owner), self._allocation.state.value, *self._room, age_s)

    def may_read(self, share: ShareId, peer: PeerId) -> bool:
        """Whether this is the environment of the cluster, and that peer a member of it too."""
        return share == self._environment and any(one.peer == peer for one in self._named)

    def leave(self, reason: str, notice_s: float) -> None:
        self._allocation.leave(reason, trio.current_time(), notice_s)

    def stay(self) -> None:
        self._allocation.stay(trio.current_time())

    async def run(self, members: dict[bytes, Member]) -> None:
        """Raises PeerError if the owner broke the protocol; its leaving is an end like others."""
        allocation, failure = self._allocation, None
        with self._over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._beat)
                nursery.start_soon(self._watch)
                try:
                    allocation.move(State.OFFERED, trio.current_time())
                    await self._connection.send(wire.OfferAllocation(self.ask.room))
                    async with conversation(self._connection):
                        await self._listen(nursery, members)
                except PeerGone as error:
                    allocation.end(f"the owner is gone: {error}")
                except PeerError as error:
                    allocation.end(f"the owner broke the protocol: {error}")
                    failure = error
                nursery.cancel_scope.cancel()
        allocation.end("the owner no longer needs it")
        logger.info("allocation for %s: %s", short(self.owner), allocation.reason)
        with suppress(PeerError), trio.move_on_after(FAREWELL_TIMEOUT_S) as farewell:
            farewell.shield = True
            await self._connection.send(wire.EndAllocation(allocation.reason[: wire.MAX_REASON_CHARS]))
        if failure is not None:
            raise failure

    async def _listen(self, nursery: trio.Nursery, members: dict[bytes, Member]) -> None:
        pace = Pace(self._connection)
        while True:
            said = await self._connection.receive()
            if isinstance(said, DataHeader):
                raise ProtocolViolation("data that nobody asked for")
            await pace.spend(said)
            now = trio.current_time()
            self._allocation.heard(now)
            match said:
                case wire.StillThere():
                    pass
                case wire.GrantAllocation() if self._allocation.state is State.OFFERED:
                    self._allocation.move(State.PREPARING, now)
                    self._named, self._environment = said.members, ShareId(said.environment.share)
                    nursery.start_soon(self._tell)
                    nursery.start_soon(self._prepare, said, members)
                case wire.ClusterMembers(members=named) if self._allocation.state is not State.OFFERED:
                    self._named = named
                    if self._member is not None:
                        await self._member.rename(named)
                case wire.StartProcess() if (member := self._ready_member) is not None:
                    await member.start(said)
                case wire.SignalProcess() if (member := self._ready_member) is not None:
                    await member.signal(said)
                case wire.EndAllocation(reason=reason):
                    self._allocation.end(reason or "the owner no longer needs it")
                    return
                case _:
                    raise ProtocolViolation(f"a {type(said).__name__} where it has no meaning")

    @property
    def _ready_member(self) -> Member | None:
        return self._member if self._allocation.state in (State.READY, State.LEAVING) else None

    async def _beat(self) -> None:
        with suppress(PeerError):
            while True:
                await trio.sleep(BEAT_S)
                await self._connection.send(wire.StillThere())

    async def _watch(self) -> None:
        state = self._allocation.state
        while not self._allocation.due(trio.current_time()):
            await trio.sleep(WATCH_INTERVAL_S)
            if self._allocation.state is not state:
                state = self._allocation.state
                self._deps.changed()
                if state is State.LEAVING:
                    notice_s = max(1, round(self._allocation.notice_s(trio.current_time())))
                    await self._say(wire.EndAllocation(self._allocation.reason[: wire.MAX_REASON_CHARS], notice_s))
        self._over.cancel()

    async def _tell(self) -> None:
        """Tells the owner how far this side is, until it is ready."""
        told = wire.Preparing("")
        while self._allocation.state is State.PREPARING:
            progress = self._progress
            now = wire.Preparing(progress.state[: wire.MAX_REASON_CHARS], progress.done, progress.size)
            if now != told:
                await self._say(now)
                told = now
            await trio.sleep(TOLD_INTERVAL_S)

    async def _say(self, message: wire.AnyCluster) -> None:
        """Says something. That the owner is gone shows elsewhere."""
        with suppress(PeerError):
            await self._connection.send(message)

    async def _prepare(self, grant: wire.GrantAllocation, members: dict[bytes, Member]) -> None:
        """Becomes a member, and stays one until the allocation is over."""
        try:
            with ALLOCATION.around():
                await self._be_member(grant, members)
        except ShoalError as error:
            self._allocation.end(str(error))
        self._over.cancel()

    async def _be_member(self, grant: wire.GrantAllocation, members: dict[bytes, Member]) -> None:
        address = self._connection.ends.claimed_address
        if address is None:
            raise PeerGone("The owner cannot be dialled, so its environment cannot be fetched.")
        deps, progress, share = self._deps, self._progress, ShareId(grant.environment.share)
        progress.state = "fetching the environment"
        async with AsyncExitStack() as stack:
            fetched = deps.environments().fetched(share, PeerHint(address, self.owner), progress)
            bound = await stack.enter_async_context(fetched)
            progress.state, progress.done, progress.size = "opening its sandbox", 0, 0
            spec = MemberSpec(
                cluster=self.ask.cluster,
                index=grant.index,
                epoch=grant.epoch,
                room=self._room,
                members=grant.members,
                bound=bound,
                files=dict(grant.files),
                folder=await stack.enter_async_context(own_folder(deps.disk, self._folder)),
                uids=deps.config.uids,
            )
            member = self._member = await stack.enter_async_context(
                open_member(spec, deps.presence.contacts, deps.traffic, idle=deps.idle)
            )
            stack.enter_context(registered(members, member))
            await member.rename(self._named)
            progress.state = "connecting with the other members"
            await member.connected()
            self._allocation.move(State.READY, trio.current_time())
            await self._say(wire.AllocationReady())
            async for event in member.events:
                await self._say(event)
            raise SandboxFailed(f"Its sandbox has ended: {member.reason or 'nobody knows why'}.")
