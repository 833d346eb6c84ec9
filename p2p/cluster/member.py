"""One member of a cluster on this machine: a sandbox with the owner's environment, in the cluster's network.

Both an owner's own member and one that is lent to somebody are this. What runs in it is a stranger's word to whoever
reads it.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from p2p import causes
from p2p.cluster.engines.engine import address
from p2p.cluster.network.network import MemberAt, Network, OwnMember, open_network
from p2p.concurrency.walls import Wall
from p2p.core.ledger import Room
from p2p.environments.binding import Bound
from p2p.errors import ConfigError, NotFound, PeerError, PeerGone, ProtocolViolation, SandboxFailed, StorageError
from p2p.ids import PeerId, compared
from p2p.net.connection import Connection
from p2p.reach.contacts import Contacts
from p2p.sandbox.native.accounts import account
from p2p.sandbox.native.keeper import remove
from p2p.sandbox.native.programs import Process
from p2p.sandbox.native.sandbox import NativeSandbox, open_native
from p2p.sandbox.native.spec import Bind, Limits, Spec
from p2p.sharing.traffic import Traffic
from p2p.store.disk import Disk
from p2p.wire.address import Address
from p2p.wire.cluster import (
    MAX_MEMBERS,
    MAX_OUTPUT_BYTES,
    MAX_REASON_CHARS,
    ClusterMember,
    ProcessEnded,
    ProcessOutput,
    SignalProcess,
    StartProcess,
)

OUTPUT = Wall("output of a program in a cluster")

CONNECTING_S = 60.0
MAX_PROCESSES = 64
"""The most programs that the owner may have running in one member; what they start themselves counts elsewhere."""
PROCESSES_PER_CORE = 512
_MOST_WAITING = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Event = ProcessOutput | ProcessEnded


class MemberSpec(msgspec.Struct, frozen=True):
    """What one member is made of. `files` are those of /etc/cluster; `folder` is its own on this machine."""

    cluster: bytes
    index: int
    epoch: int
    room: Room
    members: tuple[ClusterMember, ...]
    bound: Bound
    files: dict[str, bytes]
    folder: Path
    uids: tuple[int, ...]


class Member:
    """A member that is there. Its programs may be started at once."""

    def __init__(self, spec: MemberSpec, sandbox: NativeSandbox, network: Network, nursery: trio.Nursery) -> None:
        self.spec = spec
        self.network = network
        self._sandbox = sandbox
        self._nursery = nursery
        self._processes: dict[int, _Running] = {}
        self._last = 0
        """The highest number of a program so far."""
        self.reason = ""
        """Why it has ended, once its events have."""
        self._send, self.events = trio.open_memory_channel[Event](_MOST_WAITING)

    async def start(self, asked: StartProcess) -> None:
        """Starts a program; its output and its end are `events`, as is why it could not be started.

        Raises ProtocolViolation for what nobody may ask.
        """
        if asked.number <= self._last or not _NAME.fullmatch(asked.name):
            raise ProtocolViolation("a number that was used before, or a program without a name")
        variables = dict(asked.variables)
        if not all(map(_VARIABLE.fullmatch, variables)) or any(
            "\0" in word for word in (*asked.argv, *variables.values())
        ):
            raise ProtocolViolation("a variable or an argument that no program can have")
        self._last = asked.number
        if len(self._processes) >= MAX_PROCESSES:
            await self._tell(ProcessEnded(asked.number, -9, f"{MAX_PROCESSES} programs run already"))
            return
        one = self._processes[asked.number] = _Running(asked)
        self._nursery.start_soon(OUTPUT.contain, self._run, one, variables)

    async def signal(self, asked: SignalProcess) -> None:
        """Signals a program; does nothing if it has ended."""
        if (one := self._processes.get(asked.number)) is not None:
            await one.signal(asked.signal)

    async def connected(self) -> None:
        """Waits until there are packets with each other member. Raises NotFound that names those that are missing."""
        with trio.move_on_after(CONNECTING_S):
            await self.network.complete()
        if missing := self.network.missing():
            named = ", ".join(f"m{one.index} (peer {compared(one.peer)})" for one in missing)
            raise NotFound(f"It cannot reach {named}, nor be reached from there.")

    async def rename(self, members: Sequence[ClusterMember]) -> None:
        """Says who the members are now."""
        await self.network.meet(located(members))

    async def _run(self, one: "_Running", variables: Mapping[str, str]) -> None:
        number = one.asked.number
        try:
            process = await self._sandbox.start(one.asked.argv, variables, one.asked.name)
        except SandboxFailed as error:
            await self._tell(ProcessEnded(number, -9, str(error)[:MAX_REASON_CHARS]))
            del self._processes[number]  # only now: programs of which nobody hears the end count too
            return
        await one.begun(process)
        while piece := await process.output.receive_some(MAX_OUTPUT_BYTES):
            await self._tell(ProcessOutput(number, piece))
        code = await process.wait()
        await self._tell(ProcessEnded(number, code))
        del self._processes[number]

    async def until_ended(self) -> None:
        """Ends the events once the sandbox has ended, or another member has given this one up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until, nursery.cancel_scope, self._sandbox.ended, "")
            given_up = "another member had heard nothing of it for too long"
            nursery.start_soon(self._until, nursery.cancel_scope, self.network.outlived, given_up)
        self._send.close()

    async def _until(self, scope: trio.CancelScope, event: trio.Event, reason: str) -> None:
        await event.wait()
        self.reason = reason or self._sandbox.reason
        scope.cancel()

    async def _tell(self, event: Event) -> None:
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):  # nobody needs to know any more
            await self._send.send(event)


class _Running:
    """A program, from when it is asked for. Signals that come before it has begun reach it then."""

    def __init__(self, asked: StartProcess) -> None:
        self.asked = asked
        self._process: Process | None = None
        self._early: list[int] = []

    async def begun(self, process: Process) -> None:
        self._process = process
        for number in self._early:
            await process.signal(number)

    async def signal(self, number: int) -> None:
        if self._process is not None:
            await self._process.signal(number)
        elif number not in self._early:
            self._early.append(number)


@asynccontextmanager
async def open_member(spec: MemberSpec, contacts: Contacts, traffic: Traffic, *, idle: bool) -> AsyncIterator[Member]:
    """Opens a member, and keeps it connected with the others. Raises SandboxFailed, ConfigError."""
    try:
        files = {f"cluster/{name}": content.decode() for name, content in spec.files.items() if _NAME.fullmatch(name)}
    except UnicodeDecodeError:
        raise ConfigError("A file of the cluster is not text.") from None
    made = Spec(
        hostname=f"m{spec.index}",
        binds=tuple(Bind(one.source, one.target) for one in spec.bound.binds),
        root=spec.bound.root,
        python=spec.bound.python,
        variables={**spec.bound.variables, "SHOAL_ADDRESS": address(spec.index)},
        files={"hosts": hosts(), **files},
        limits=Limits(spec.room.cores, spec.room.memory, spec.room.disk, PROCESSES_PER_CORE * (spec.room.cores + 1)),
    )
    async with AsyncExitStack() as stack:
        user = stack.enter_context(account(spec.uids))
        sandbox = await stack.enter_async_context(open_native(made, spec.folder, user, idle=idle))
        own = OwnMember(spec.cluster, spec.index, spec.epoch)
        network = await stack.enter_async_context(
            open_network(sandbox.pid, own, partial(dial, contacts), traffic.upload, traffic.download)
        )
        await network.meet(located(spec.members))
        await sandbox.begin()
        nursery = await stack.enter_async_context(trio.open_nursery())
        member = Member(spec, sandbox, network, nursery)
        nursery.start_soon(member.until_ended)
        yield member
        nursery.cancel_scope.cancel()


async def dial(contacts: Contacts, member: MemberAt) -> Connection:
    """Connects with the peer of a member, at whichever of its addresses answers. Raises PeerError."""
    failure: PeerError = PeerGone("nobody says where it is")
    for where in member.addresses:
        try:
            return await contacts.dial(where, member.peer)
        except PeerError as error:
            failure = error
    raise failure


@asynccontextmanager
async def own_folder(disk: Disk, folder: Path) -> AsyncIterator[Path]:
    """A folder that is made, and removed at the end with all that is in it. Raises StorageError."""
    try:
        await disk.run(partial(folder.mkdir, mode=0o700, parents=True))
    except OSError as error:
        raise StorageError(f"Cannot make {folder}: {causes.explained(error)}") from error
    try:
        yield folder
    finally:
        with trio.CancelScope(shield=True):
            await disk.run(remove, str(folder))


@contextmanager
def registered(members: dict[bytes, Member], member: Member) -> Iterator[None]:
    """Lets other members reach this one while the body runs."""
    members[member.spec.cluster] = member
    try:
        yield
    finally:
        del members[member.spec.cluster]


def located(members: Sequence[ClusterMember]) -> list[MemberAt]:
    """The members, as the network knows them."""
    return [
        MemberAt(one.index, PeerId(one.peer), one.epoch, tuple(Address(*address) for address in one.addresses))
        for one in members
    ]


def hosts() -> str:
    """The file /etc/hosts of members: all that there may ever be have names, so that it need not be written again."""
    others = (f"{address(number)} m{number}" for number in range(MAX_MEMBERS))
    return "\n".join(["127.0.0.1 localhost", *others, ""])
