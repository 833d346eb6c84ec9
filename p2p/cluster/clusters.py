"""The public face of this package: the lists, what this peer lends, and the clusters of its own user.

What makes members is imported when the first is made: most peers never have one.
"""

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from p2p import config_file
from p2p.cluster import answers
from p2p.cluster.deps import Deps
from p2p.cluster.lists import NOBODY, Which, listed
from p2p.cluster.readiness import Readiness
from p2p.cluster.spec import MAX_WORKERS, ClusterSpec
from p2p.config import Config
from p2p.core.cluster.allocations import NOTICE_S
from p2p.core.ledger import Ledger, Room
from p2p.errors import ConfigError, NotFound, SandboxFailed
from p2p.formats import quoted
from p2p.ids import PeerId, ShareId
from p2p.net.connection import Connection
from p2p.net.router import Opening
from p2p.progress import Progress
from p2p.wire import cluster as wire
from p2p.wire.link import parse_peer
from p2p.wire.messages import NOT_FOUND, Failed

if TYPE_CHECKING:
    from p2p.cluster.lending import Lending
    from p2p.cluster.member import Member
    from p2p.cluster.owner.cluster import Cluster

MAX_CLUSTERS = 8
LENT = ".lent"
"""The folder of what is lent, beside those of this user's clusters: no cluster can have this name."""
NO_NODE = "A cluster lives in a node, which stays when this command ends. Start one: shoal node"

Emit = Callable[[bytes], Awaitable[None]]


class Clusters:
    """Clusters as one peer's user has them, and what the peer lends to clusters of others."""

    def __init__(self, deps: Deps, ledger: Ledger, *, of_node: bool) -> None:
        self._deps = deps
        self._of_node = of_node
        self._folder = deps.home / "clusters"
        self._own: dict[str, Cluster] = {}
        self._members: dict[bytes, Member] = {}
        """All members on this machine, by their clusters."""
        self._ledger = ledger
        self._readiness = Readiness(deps.config.uids, deps.disk)
        self.paused = False
        """Whether nothing more is lent."""
        self._lending: Lending | None = None
        self._orders, self._to_do = trio.open_memory_channel[Callable[[], Awaitable[None]]](float("inf"))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs clusters until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._folder.exists():
                from p2p.sandbox.native.keeper import remove

                await self._deps.disk.run(remove, str(self._folder))  # left by a process that was killed
            task_status.started()
            async for order in self._to_do:
                nursery.start_soon(order)

    # The lists.

    def listed(self) -> answers.ListsAnswer:
        """Both lists."""
        lists = self._deps.lists
        return answers.ListsAnswer(lists.names("allow"), lists.names("trust"))

    async def change_list(self, which: Which, peer: str, *, remove: bool) -> answers.ListsAnswer:
        """Lists a peer, or takes it off the list, now and in the config.toml. Raises ConfigError, StorageError."""
        deps, named = self._deps, listed(peer)
        if named == deps.presence.peer_id:
            raise ConfigError(
                "This is the id of this peer itself. `shoal status` shows that of the other machine there."
            )
        settings: dict[str, config_file.Value] = {which: deps.lists.changed(which, named, removed=remove)}
        await deps.disk.run(config_file.save, deps.home, "cluster", settings)
        deps.lists.change(which, named, removed=remove)
        if remove and which == "allow" and self._lending is not None:
            self._lending.unlisted(named)
        if remove and which == "trust":
            for cluster in self._own.values():
                cluster.untrusted(named)
        trouble = "" if remove else await self._readiness.trouble()
        return msgspec.structs.replace(self.listed(), trouble=trouble)

    # What others may ask.

    def openings(self) -> dict[type, Opening]:
        """Handlers for what other peers may ask."""
        return {wire.AskAllocation: self._asked, wire.Packets: self._packets}

    def may_read(self, share: ShareId, peer: PeerId) -> bool:
        """Whether a peer may read this environment: it is a member of the cluster that the environment is for."""
        if self._lending is not None and self._lending.may_read(share, peer):
            return True
        return any(cluster.may_read(share, peer) for cluster in list(self._own.values()))

    async def _asked(self, connection: Connection, ask: wire.AskAllocation) -> bool:
        if not self._deps.lists.lends_to(connection.ends.peer_id) or not self._of_node:
            await connection.send(wire.RefuseAllocation(NOBODY))
            return False
        if self.paused:
            await connection.send(wire.RefuseAllocation("paused by its user"))
            return False
        if trouble := await self._readiness.trouble():
            await connection.send(
                wire.RefuseAllocation(f"it can have no member now: {trouble}"[: wire.MAX_REASON_CHARS])
            )
            return False
        if self._lending is None:
            from p2p.cluster.lending import Lending

            self._lending = Lending(self._deps, self._ledger, self._members, self._folder / LENT)
        await self._lending.converse(connection, ask)
        return True

    @property
    def lends(self) -> bool:
        """Whether there is anybody to lend to."""
        return self._deps.lists.lends

    def pause(self, paused: bool, *, now: bool) -> None:
        """Lends nothing more, or lends again. If `now`, what is lent ends after a notice."""
        self.paused = paused
        if self._lending is not None and paused and now:
            self._lending.leave("its user wants the machine back", NOTICE_S)
        elif self._lending is not None and not paused:
            self._lending.stay()

    async def _packets(self, connection: Connection, said: wire.Packets) -> bool:
        member = self._members.get(said.cluster)
        if member is None:
            await connection.send(Failed(reason=NOT_FOUND))
            return False
        return await member.network.welcome(connection, said)

    # The clusters of this peer's user.

    async def start(self, spec: ClusterSpec, progress: Progress) -> answers.ClusterRow:
        """Starts a cluster. Returns once it runs. Raises ShoalError; if cancelled, the cluster ends."""
        if not self._of_node:
            raise ConfigError(NO_NODE)
        for ending in list(self._own.values()):
            if ending.is_stopping:  # whoever interrupts a start and starts again means the same cluster
                await ending.over.wait()
        if len(self._own) >= MAX_CLUSTERS:
            raise ConfigError(f"{MAX_CLUSTERS} clusters run already. Stop one: shoal cluster stop NAME")
        if any(parse_peer(text).peer_id is None for text in spec.peers):
            raise ConfigError("Name each peer with its id, as PEER@HOST:PORT: whoever is there reads all that is sent.")
        if spec.members and not spec.peers and not self._deps.lists.names("trust"):
            raise NotFound(
                "You trust no peer yet. List those who lend to you with `shoal cluster trust PEER`, "
                "or name one with --peer PEER@HOST:PORT."
            )
        if trouble := await self._readiness.trouble():
            raise SandboxFailed(f"This machine can have no member of a cluster. {trouble}")
        from p2p.cluster.engines.engines import engine
        from p2p.cluster.owner.cluster import Cluster

        name = self._free_name(spec)
        cluster = Cluster(self._deps, spec, name, engine(spec.engine), self._members, self._folder / name, progress)
        self._own[name] = cluster
        self._orders.send_nowait(lambda: self._keep(cluster))
        try:
            await cluster.settled.wait()
        finally:
            if not cluster.settled.is_set():
                cluster.stop()
        if cluster.failure is not None:
            raise cluster.failure
        return cluster.row()

    async def list(self) -> answers.ClustersAnswer:
        """The clusters, and what is lent."""
        rows = tuple(cluster.row() for cluster in self._own.values())
        lists = self._deps.lists
        wants_any = lists.names("allow") or lists.names("trust")
        return answers.ClustersAnswer(rows, self.lent, await self._readiness.trouble() if wants_any else "")

    @property
    def lent(self) -> tuple[answers.LentRow, ...]:
        """What is lent to clusters of others."""
        return () if self._lending is None else self._lending.rows()

    async def command(
        self, name: str, argv: tuple[str, ...], variables: dict[str, str], files: dict[str, bytes], emit: Emit
    ) -> answers.RanAnswer:
        """Runs a command in the owner's member of a cluster; `emit` has what it prints. If cancelled, it ends.

        `files` are put into the folder in which it runs. Raises ShoalError.
        """
        if not argv:
            raise ConfigError("Which command? For example: shoal cluster run NAME -- python my.py")
        commands = self._named(name).commands
        for file, content in files.items():
            await commands.put(file, content)
        return answers.RanAnswer(await commands.run(argv, variables, emit))

    async def logs(self, name: str, member: int | None, emit: Emit) -> answers.RanAnswer:
        """Gives the end of what the programs of the engine printed to `emit`."""
        logs = self._named(name).programs.logs(member)
        if member is not None and not logs:
            raise NotFound(f"Nothing was started in m{member} of {name}. `shoal cluster list` shows its members.")
        for log in logs:
            await emit(f"== m{log.member} {log.program}\n{log.end()}\n".encode())
        return answers.RanAnswer(0)

    def scale(self, name: str, members: int) -> answers.ClusterRow:
        """Changes of how many members a cluster is to be."""
        if not 0 <= members <= MAX_WORKERS:
            raise ConfigError(f"A cluster has at most {MAX_WORKERS} members besides your own.")
        cluster = self._named(name)
        cluster.scale(members)
        return cluster.row()

    async def add(self, name: str, label: str) -> answers.MemberRow:
        """Adds a member to a cluster. Returns once the engine runs there. Raises NotFound if nobody lends one."""
        cluster = self._named(name)
        index = await cluster.add(label)
        return next(one for one in cluster.row().members if one.index == index)

    async def release(self, name: str, index: int) -> answers.ClusterRow:
        """Gives a member back. Does nothing if it is gone."""
        cluster = self._named(name)
        await cluster.release(index)
        return cluster.row()

    async def stop(self, name: str) -> answers.ClusterRow:
        """Stops a cluster, and returns once nothing is left of it."""
        cluster = self._named(name)
        cluster.stop()
        await cluster.over.wait()
        return cluster.row()

    async def _keep(self, cluster: "Cluster") -> None:
        try:
            await cluster.run()
        finally:
            del self._own[cluster.name]

    def _free_name(self, spec: ClusterSpec) -> str:
        if spec.name:
            if spec.name in self._own:
                raise ConfigError(f"There is a cluster {spec.name} already. `shoal cluster list` shows it.")
            return spec.name
        names = [spec.engine, *(f"{spec.engine}-{number}" for number in range(2, MAX_CLUSTERS + 2))]
        return next(name for name in names if name not in self._own)

    def _named(self, name: str) -> "Cluster":
        cluster = self._own.get(name)
        if cluster is None:
            there = f"There are: {', '.join(self._own)}." if self._own else "There is none: shoal cluster start dask"
            raise NotFound(f"There is no cluster {quoted(name)}. {there}")
        return cluster


def lendable(config: Config) -> Room:
    """What this machine has for others at most: for members of clusters, and for guests."""
    of_clusters, memory = config.cluster, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = max(of_clusters.cores or len(os.sched_getaffinity(0)), config.volunteer.cores)
    return Room(cores, of_clusters.memory_bytes or memory // 2, of_clusters.disk_bytes)
