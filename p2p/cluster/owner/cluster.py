"""One cluster, from the search for members to its end.

    looking for members -> preparing -> starting -> running -> stopped

The owner's own member is number 0, and has what the engine has one of; so the end of the owner is that of the cluster.
A member that is lost is replaced while the cluster runs, where another peer offers room. What is missing is said.
"""

import logging
import os
import platform
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec
import trio

from p2p import causes, private
from p2p.cluster.answers import AddressRow, ClusterRow, MemberRow
from p2p.cluster.deps import Deps
from p2p.cluster.engines.engine import At, Engine
from p2p.cluster.engines.engine import address as engine_address
from p2p.cluster.lists import NOBODY
from p2p.cluster.member import Member, MemberSpec, open_member, own_folder, registered
from p2p.cluster.network import http_door
from p2p.cluster.network.doors import Doors
from p2p.cluster.network.network import Network
from p2p.cluster.owner.commands import Commands
from p2p.cluster.owner.programs import Programs, Running
from p2p.cluster.owner.recruiting import Recruiting
from p2p.cluster.owner.seats import SEAT, LentSeat, OwnSeat, Seat
from p2p.cluster.spec import ClusterSpec
from p2p.concurrency.walls import Wall
from p2p.core.cluster.allocations import State
from p2p.core.cluster.membership import Standing
from p2p.core.ledger import Room
from p2p.environments.environments import Own
from p2p.environments.packs import Need
from p2p.errors import ConfigError, NotFound, SandboxFailed, ShoalError, StorageError
from p2p.ids import PeerId, ShareId, compared, to_text
from p2p.progress import Progress
from p2p.wire import cluster as wire
from p2p.wire.link import parse_peer

logger = logging.getLogger(__name__)

CLUSTER = Wall("cluster")

READY_TIMEOUT_S = 3600.0
REPLACE_INTERVAL_S = 5.0
WATCH_INTERVAL_S = 0.2
OWN_MEMORY = 1 << 30
"""What the owner's own member has, at least: the scheduler, and what is run there."""


class Cluster:
    """A cluster of this peer's user. It lives while `run` does."""

    def __init__(
        self,
        deps: Deps,
        spec: ClusterSpec,
        name: str,
        engine: Engine,
        members: dict[bytes, Member],
        folder: Path,
        progress: Progress,
    ) -> None:
        """`members` are all on this machine; `folder` is the cluster's own, and is made by `run`."""
        self.id = os.urandom(16)
        self.spec = spec
        self.name = name
        self.state = "looking for members"
        self.settled = trio.Event()
        """Set once it runs, or never will."""
        self.over = trio.Event()
        self.failure: ShoalError | None = None
        self.programs = Programs()
        self.progress = progress
        self._deps = deps
        self._engine = engine
        self._members = members
        self._folder = folder
        self._since = trio.current_time()
        self._scope = trio.CancelScope()
        self._seats: dict[int, Seat] = {}
        self._addresses: tuple[AddressRow, ...] = ()
        self._missing = ""
        self._wanted = spec.members
        self._epochs: dict[int, int] = {}
        """How often each index has been somebody's."""
        self._joining = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._environment: Own | None = None
        self._keys: dict[str, bytes] = {}

    @property
    def keys_folder(self) -> Path:
        """Where the cluster's keys are, for the owner's programs."""
        return self._folder / "keys"

    def row(self) -> ClusterRow:
        """The cluster, for its user."""
        members = tuple(
            MemberRow(seat.index, to_text(seat.peer), seat.label, seat.state, seat.room.cores, seat.room.memory)
            for _, seat in sorted(self._seats.items())
        )
        return ClusterRow(
            name=self.name,
            engine=self._engine.name,
            state=self.state,
            age_s=round(trio.current_time() - self._since, 1),
            addresses=self._addresses,
            members=members,
            missing=self._missing,
            keys=str(self.keys_folder),
        )

    def stop(self) -> None:
        """Ends the cluster, with all that runs in it."""
        self._scope.cancel()

    @property
    def is_stopping(self) -> bool:
        """Whether it was stopped, and goes on only until what it does now is given up."""
        return self._scope.cancel_called

    def may_read(self, share: ShareId, peer: PeerId) -> bool:
        """Whether this is the cluster's environment, and that peer one of its members."""
        is_ours = self._environment is not None and self._environment.share == share
        return is_ours and any(seat.peer == peer for seat in list(self._seats.values()))

    async def run(self) -> None:
        """Makes the cluster, and keeps it until it is stopped; `failure` says why it could not be, or failed."""
        try:
            with self._scope, CLUSTER.around():
                await self._live()
        except ShoalError as error:
            self.failure = error
            logger.warning("cluster %s: %s", self.name, error)
        finally:
            self.state = self.progress.state = "stopped"
            if self.failure is None and not self.settled.is_set():
                self.failure = ConfigError(f"The cluster {self.name} was stopped before it ran.")
            self.settled.set()
            self.over.set()
            self._deps.changed()

    def scale(self, members: int) -> None:
        """Changes of how many members it is to be. Those with the highest numbers leave first."""
        self._wanted = members
        lent = sorted((seat for seat in self._seats.values() if isinstance(seat, LentSeat)), key=lambda one: one.index)
        for seat in lent[members:]:
            seat.end("the owner needs fewer members")

    def untrusted(self, peer: PeerId) -> None:
        """Gives back what is had of a peer, and asks it for nothing more, even if it was named at the start."""
        peers = tuple(text for text in self.spec.peers if parse_peer(text).peer_id != peer)
        self.spec = msgspec.structs.replace(self.spec, peers=peers)
        for seat in self._seats.values():
            if isinstance(seat, LentSeat) and seat.peer == peer:
                seat.end("it is no longer trusted")

    async def add(self, label: str) -> int:
        """Takes one member more. Returns its index once the engine runs there. Raises NotFound."""
        if self._nursery is None or self.state != "running":
            raise ConfigError(f"The cluster {self.name} is not running: {self.state}.")
        self._wanted += 1
        recruiting = self._recruiting()
        try:
            async with self._joining:
                taken = [seat.peer for seat in self._seats.values()]
                found = await recruiting.find(1, taken, self.spec.wait_s)
                for seat in found:
                    await self._join(self._nursery, seat, label)
            if not found:
                raise NotFound(self._nobody(recruiting.refusals))
            await seat.working.wait()
            if seat.over.is_set():
                raise NotFound(f"m{seat.index} ({compared(seat.peer)}): {seat.reason}")
        except NotFound:
            self._wanted -= 1
            raise
        return seat.index

    async def release(self, index: int) -> None:
        """Gives a member back, and takes no other for it."""
        seat = self._seats.get(index)
        if isinstance(seat, LentSeat):
            self._wanted -= 1
            seat.end("the owner needs it no longer")
            await seat.over.wait()

    @property
    def commands(self) -> Commands:
        """What runs commands in the owner's own member. Raises ConfigError unless the cluster runs."""
        if self.state != "running" or self._environment is None:
            raise ConfigError(f"The cluster {self.name} is not running yet: {self.state}.")
        return Commands(self.programs, self._seats[0], self._engine.inside, self._environment.bound.python)

    # Its life.

    async def _live(self) -> None:
        spec, deps = self.spec, self._deps
        self._keys = dict(self._engine.keys())
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(own_folder(deps.disk, self._folder))
            await deps.disk.run(_write_keys, self.keys_folder, self._keys)
            self.progress.state = "packing the environment"
            need = Need(self._engine.package, self._engine.requirement)
            self._environment = await stack.enter_async_context(
                deps.environments().own(spec.environment, self.progress, spec.include, need)
            )
            nursery = self._nursery = await stack.enter_async_context(trio.open_nursery())
            await self._become(stack, nursery)
            nursery.start_soon(self._keep_members, nursery)
            await trio.sleep_forever()

    async def _become(self, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        """Gets the members together and starts the engine. Raises ShoalError."""
        self._say("looking for members")
        recruiting = self._recruiting()
        spec = self.spec
        found = await recruiting.find(self._wanted, (), spec.wait_s)
        if not found and self._wanted:
            raise NotFound(self._nobody(recruiting.refusals))
        room = Room(spec.cores, max(spec.memory, OWN_MEMORY), spec.disk)
        own = OwnSeat(self._deps.presence.peer_id, room, self._deps.presence.addresses)
        self._seats = {0: own} | dict(enumerate(found, 1))
        self._epochs = {index: seat.epoch for index, seat in self._seats.items()}
        named = self._named()
        self._say("preparing")
        for index, seat in enumerate(found, 1):
            seat.index, seat.label = index, f"m{index}"
            nursery.start_soon(self._hold, seat, named)
        await self._open_own(stack, nursery, own, named)
        await self._until_ready(found)
        self._say(f"starting {self._engine.name}")
        at = At(0, own.room, self._bin(), "m0")
        for program in self._engine.head(at):
            started = await self.programs.start(own, program)
            await self.programs.started(started)
            nursery.start_soon(self._guard_head, started)
        await self._open_ports(nursery, own)
        async with trio.open_nursery() as starting:
            for seat in found:
                if not seat.over.is_set():
                    starting.start_soon(self._start_worker, seat)
        self._say("running")
        self.settled.set()

    async def _hold(self, seat: LentSeat, named: tuple[wire.ClusterMember, ...]) -> None:
        """Holds the conversation with a member, and forgets it when that is over."""
        assert self._environment is not None
        index = seat.index
        environment = wire.BoundShare(self._environment.share, "")
        grant = wire.GrantAllocation(index, seat.epoch, environment, named, files=tuple(self._keys.items()))
        try:
            await SEAT.contain(seat.run, grant, self.programs.heard)
        finally:
            self.programs.lost(index)
            if self._seats.get(index) is seat:
                del self._seats[index]
                if index <= self._wanted:
                    self._missing = f"m{index} ({compared(seat.peer)}): {seat.reason}"
            self._deps.left()
            self._deps.changed()
            if self.state == "running" and not self._scope.cancel_called:
                await self._rename(self._named())

    async def _open_own(
        self, stack: AsyncExitStack, nursery: trio.Nursery, own: OwnSeat, named: tuple[wire.ClusterMember, ...]
    ) -> None:
        assert self._environment is not None
        spec = MemberSpec(
            cluster=self.id,
            index=0,
            epoch=own.epoch,
            room=own.room,
            members=named,
            bound=self._environment.bound,
            files=self._keys,
            folder=await stack.enter_async_context(own_folder(self._deps.disk, self._folder / "m0")),
            uids=self._deps.config.uids,
        )
        own.member = member = await stack.enter_async_context(
            open_member(spec, self._deps.presence.contacts, self._deps.traffic, idle=False)
        )
        stack.enter_context(registered(self._members, member))
        nursery.start_soon(self._hear_own, member)
        nursery.start_soon(self._watch_network, member.network)

    async def _hear_own(self, member: Member) -> None:
        async for event in member.events:
            await self.programs.heard(0, event)
        raise SandboxFailed(f"The sandbox of the owner's own member has ended: {member.reason or 'nobody knows why'}.")

    async def _until_ready(self, found: list[LentSeat]) -> None:
        """Waits until each member is ready or gone. Raises NotFound if none is left."""
        with trio.move_on_after(READY_TIMEOUT_S):
            for seat in found:
                while not seat.ready.is_set() and not seat.over.is_set():
                    told = seat.doing
                    self.progress.state = f"m{seat.index} is {told.what}" if told.what else "preparing"
                    self.progress.size, self.progress.done = told.total, told.done
                    await trio.sleep(WATCH_INTERVAL_S)
        ready = [seat for seat in found if seat.ready.is_set() and not seat.over.is_set()]
        if found and not ready:
            reasons = "; ".join(f"{compared(seat.peer)}: {seat.reason}" for seat in found)
            raise NotFound(f"No member became ready: {reasons}.")

    async def _start_worker(self, seat: LentSeat) -> None:
        """Starts the engine in a member. If it does not run there, the member is given back."""
        for program in self._engine.worker(At(seat.index, seat.room, self._bin(), seat.label)):
            one = await self.programs.start(seat, program)
            try:
                await self.programs.started(one)
            except NotFound as error:
                seat.end(str(error))
        seat.working.set()

    async def _guard_head(self, one: Running) -> None:
        """Raises NotFound when a program of the head ends: the cluster is nothing without it."""
        await one.over.wait()
        if one.code == 0:
            return self.stop()  # a program of the owner's has ended it
        said = one.log.end(6)
        raise NotFound(f"{one.program.name} has ended ({one.reason or one.code}), and the cluster with it.\n{said}")

    async def _open_ports(self, nursery: trio.Nursery, own: OwnSeat) -> None:
        """Makes the engine's ports reachable for programs of this peer's user on this machine."""
        assert own.member is not None
        doors, rows = Doors(own.member.network.connect), []
        for port in self._engine.ports:
            speak = http_door.speak if port.kind == "web" else None
            number = await nursery.start(partial(doors.serve, engine_address(0), port.number, speak=speak))
            rows.append(AddressRow(port.what, f"{port.scheme}://127.0.0.1:{number}"))
        self._addresses = tuple(rows)

    async def _keep_members(self, nursery: trio.Nursery) -> None:
        """Looks for others where members are missing, and has them join."""
        while True:
            await trio.sleep(REPLACE_INTERVAL_S)
            recruiting = self._recruiting()
            async with self._joining:
                lent = [seat for seat in self._seats.values() if isinstance(seat, LentSeat)]
                missing = self._wanted - len(lent)
                if missing > 0:
                    taken = [seat.peer for seat in lent]
                    for seat in await recruiting.find(missing, taken, REPLACE_INTERVAL_S):
                        await self._join(nursery, seat, "")
                        missing -= 1
            self._missing = "" if missing <= 0 else self._missing or self._nobody(recruiting.refusals)

    async def _join(self, nursery: trio.Nursery, seat: LentSeat, label: str) -> None:
        """Makes a newcomer a member of the cluster that runs."""
        index = next(number for number in range(1, wire.MAX_MEMBERS) if number not in self._seats)
        self._epochs[index] = seat.epoch = self._epochs.get(index, 0) + 1
        self._seats[index] = seat
        seat.index, seat.label = index, label or f"m{index}"
        named = self._named()
        await self._rename(named)
        nursery.start_soon(self._hold, seat, named)
        nursery.start_soon(self._welcome, seat)

    async def _rename(self, named: tuple[wire.ClusterMember, ...]) -> None:
        """Tells the members who they all are now. One that has not been granted its place is told with that."""
        for seat in list(self._seats.values()):
            if seat.state != State.OFFERED.value:
                await seat.rename(named)

    async def _welcome(self, seat: LentSeat) -> None:
        while not seat.ready.is_set():
            if seat.over.is_set():
                return
            await trio.sleep(WATCH_INTERVAL_S)
        await self._start_worker(seat)

    async def _watch_network(self, network: Network) -> None:
        """Ends the allocations of members of which nothing was heard for too long: the network has refused them."""
        while True:
            count = network.changes.count
            for index, seat in list(self._seats.items()):
                gone = network.members.standing(index) is Standing.GONE
                if isinstance(seat, LentSeat) and gone and network.members.epoch(index) == seat.epoch:
                    seat.end("nothing was heard of it for too long")
            await network.changes.after(count)

    # Small things.

    def _say(self, state: str) -> None:
        self.state = self.progress.state = state
        self.progress.size = self.progress.done = 0
        self._deps.changed()

    def _bin(self) -> str:
        assert self._environment is not None
        return os.path.dirname(self._environment.bound.python)

    def _recruiting(self) -> Recruiting:
        room = self.spec
        ask = wire.AskAllocation(
            self.id, wire.AllocationRoom(room.cores, room.memory, room.disk), int(room.seconds), platform.machine()
        )
        hints = [parse_peer(text) for text in self.spec.peers]
        return Recruiting(self._deps, ask, self._deps.lists.peers("trust"), hints)

    def _nobody(self, refusals: Mapping[str, str]) -> str:
        """Why no peer is a member, or none more, and what to do."""
        if not refusals:
            return "No other peer was found that lends. List more of those that do: shoal cluster trust PEER"
        reasons = "; ".join(f"{who}: {why}" for who, why in sorted(refusals.items()))
        listing = (
            f" Who is to lend to you lists you there: shoal cluster allow {to_text(self._deps.presence.peer_id)}"
            if NOBODY in refusals.values()
            else ""
        )
        return f"No peer lends what was asked for ({reasons}).{listing}"

    def _named(self) -> tuple[wire.ClusterMember, ...]:
        return tuple(
            wire.ClusterMember(index, seat.peer, seat.epoch, tuple((one.host, one.port) for one in seat.addresses[:8]))
            for index, seat in sorted(self._seats.items())
        )


def _write_keys(folder: Path, keys: Mapping[str, bytes]) -> None:
    """Blocks. Raises StorageError."""
    try:
        folder.mkdir(mode=0o700)
        for name, content in keys.items():
            path = folder / name
            private.touch(path)
            path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"Cannot write the cluster's keys to {folder}: {causes.explained(error)}") from error
