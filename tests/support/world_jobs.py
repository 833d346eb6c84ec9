"""Jobs in a world: owners and volunteers in one process, and rogues of either kind that speak the real protocol."""

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2p.compute import bundles
from p2p.compute.answers import JobAnswer
from p2p.compute.bundles import Description
from p2p.compute.runtimes import all_runtimes
from p2p.compute.spec import JobSpec
from p2p.errors import PeerError
from p2p.ids import ShareId
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire import work
from p2p.wire.link import PeerHint
from tests.support.world import PATIENCE_S, World, hint_of

MIB = 1024 * 1024
SUM = "def job(inputs, n: int = 60):\n    return inputs.range(n).map(lambda i: i * i).sum()\n"


async def volunteer(world: World, name: str = "volunteer", cores: int = 1, **settings: Any) -> Node:
    """Starts a peer that volunteers; its first guest is ready."""
    local = await world.peer(name, volunteer={"cores": cores, **settings})
    await local.sandbox.prepare(all_runtimes()[0])
    return local


def write_job(world: World, source: str, name: str = "job.py") -> Path:
    path = world.folder / name
    path.write_text(source)
    return path


async def run_job(
    local: Node, path: Path, peers: Sequence[PeerHint], *, progress: Progress | None = None, **wish: Any
) -> JobAnswer:
    """Runs a job of the peer to its end, within a minute; returns what its user gets."""
    wish = {"unit_time_s": 20.0, "wait_s": 20.0} | wish
    asked = JobSpec(str(path), peers=tuple(map(str, peers)), **wish)
    with trio.fail_after(PATIENCE_S):
        return await local.jobs.begin(asked, progress or Progress())


# Owners.


class Employer:
    """An owner that sends a volunteer whatever a test chooses; it serves what it shares as any peer does."""

    def __init__(self, local: Node) -> None:
        self.local = local

    async def share(self, folder: Path) -> ShareId:
        """Shares a folder as it is."""
        return (await self.local.sharing.share([folder], folder.name, Progress(), unlisted=True, own=True)).share_id

    async def bundle(
        self, source: str = SUM, inputs: Sequence[bundles.InputDescription] = (), files: dict[str, bytes] | None = None
    ) -> ShareId:
        """Shares the bundle of a job that consists of this source, or of these files."""
        folder = self.local.home / f"bundle-{os.urandom(4).hex()}"
        description = Description(args={}, partitions=4, reduce_partitions=2, inputs=tuple(inputs))
        bundles.write(folder, bundles.whole({"job.py": source.encode()}) if files is None else files, description)
        return await self.share(folder)

    def offer(self, bundle: bytes, **changed: Any) -> work.JobOffer:
        """An offer as honest owners make it, with these fields changed."""
        runtime = all_runtimes()[0]
        offer = work.JobOffer(
            job=os.urandom(32),
            bundle=bundle,
            runtime=runtime.name,
            digest=runtime.digest,
            memory=256 * MIB,
            wall_s=20.0,
            output_bytes=MIB,
            log_bytes=16 * 1024,
            port=self.local.dialer.port,
        )
        return msgspec.structs.replace(offer, **changed)

    async def dial(self, to: Node) -> Connection:
        return await self.local.dialer.dial(hint_of(to).address, to.peer_id)

    async def tell(self, to: Node, offer: work.JobOffer, *said: Any) -> list[Any]:
        """Sends the offer, and all these messages once it is accepted; returns the volunteer's messages.

        Receives until the volunteer has answered for all units or closed the connection.
        """
        connection = await self.dial(to)
        try:
            await connection.send(offer)
            heard = [await connection.receive()]
            if isinstance(heard[0], work.JobAccepted):
                with suppress(PeerError):
                    for message in said:
                        await connection.send(message)
                units = sum(len(message.units) for message in said if isinstance(message, work.Units))
                heard += await hear_out(connection, units)
            return heard
        finally:
            connection.close()


async def hear_out(connection: Connection, units: int) -> list[Any]:
    """The messages received, without heartbeats, until this many units are answered or the peer hangs up."""
    heard: list[Any] = []
    with suppress(PeerError):
        while len(results(heard)) < units:
            message = await connection.receive()
            if not isinstance(message, work.Heartbeat):
                heard.append(message)
    return heard


def results(heard: Iterable[Any]) -> list[work.Result]:
    return [result for message in heard if isinstance(message, work.Results) for result in message.results]


def unit(number: int = 0, **changed: Any) -> work.Unit:
    """A unit of a range, with its own id and plan."""
    made = work.Unit(number.to_bytes(32, "big"), 0, 0, number, bytes(32), kind="range", first=0, count=1)
    return msgspec.structs.replace(made, **changed)


# Volunteers.

Accepted = Callable[[Connection, work.JobOffer], Awaitable[None]]


def accepting(then: Accepted, *, slots: int = 4, window: int = 4096) -> Callable[[Connection], Awaitable[None]]:
    """The behaviour of a volunteer that accepts every job, and then continues with `then`."""

    async def behave(connection: Connection) -> None:
        offer = await connection.receive()
        assert isinstance(offer, work.JobOffer)
        await connection.send(work.JobAccepted(slots, window))
        await then(connection, offer)

    return behave
