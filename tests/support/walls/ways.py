"""A network of three peers and a tracker, and ways through it that lead to every wall of a peer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import trio

from p2p.control.protocol import Event, GetRequest, SearchRequest, StatusRequest
from p2p.errors import ShoalError
from p2p.ids import short
from p2p.node import Node
from p2p.wire.address import Address
from tests.support.world import NETWORK, World, hint_of, until
from tests.support.world_jobs import run_job, write_job
from tracker.server import open_tracker

PATIENCE_S = 60.0
COUNT = "def job(inputs):\n    return inputs.lines().count()\n"

Way = Callable[[], Awaitable[None]]


class Ways:
    """What the three peers do for and with each other. Made by `open_ways`."""

    def __init__(self, world: World, origin: Node, worker: Node, caller: Node) -> None:
        self._world = world
        self._origin, self._worker, self._caller = origin, worker, caller
        self._job = write_job(world, COUNT)
        self._numbers = count()

    @property
    def peers(self) -> Sequence[Node]:
        return self._origin, self._worker, self._caller

    @property
    def all(self) -> Sequence[Way]:
        return self.fetch, self.get, self.look, self.compute, self.call

    async def fetch(self) -> None:
        world, number = self._world, next(self._numbers)
        published = await world.publish(self._origin, {"a": 3_000_000}, f"data-{number}", number)
        self._origin.presence.contacts._known.clear()
        await world.get(self._worker, published.link, [published.hint], folder=world.folder / f"{number}")

    async def get(self) -> None:
        world, number = self._world, next(self._numbers)
        published = await world.publish(self._origin, {"a": 100_000}, f"data-{number}", number)
        link = self._origin.discovery.links.to(published.link.share_id, "data", 100_000)
        request = GetRequest(link=link, out=str(world.folder / f"{number}"))
        await self._worker.operations.perform(request, ignore, keep_serving=True)

    async def call(self) -> None:
        world, number, worker = self._world, next(self._numbers), self._worker
        published = await world.publish(self._caller, {"a": 100_000}, f"data-{number}", number)
        share = published.link.share_id
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.get, worker, published.link, folder=world.folder / f"{number}"))
            await until(lambda: worker.swarms.taker(share) is not None)
            self._caller.calls.wanted(share, worker.peer_id, worker.addresses[0])

    async def compute(self) -> None:
        for row in await self._origin.jobs.listed():
            if row.state == "stopped":  # by a bug; only so many are kept
                await self._origin.jobs.cancel(row.job)
        lines = self._world.folder / f"lines-{next(self._numbers)}"
        lines.write_text("one\ntwo\n" * 1000)
        answer = await run_job(self._origin, self._job, [hint_of(self._worker)], wait_s=None, inputs=(str(lines),))
        assert answer.result == 2000

    async def look(self) -> None:
        await self._worker.operations.perform(StatusRequest(), ignore, keep_serving=True)
        await self._origin.operations.perform(SearchRequest(query="data"), ignore, keep_serving=True)

    async def hold_nothing(self) -> None:
        """Waits until the peers have given back everything that activities hold. Fails after a while."""
        for peer in self.peers:
            with trio.move_on_after(PATIENCE_S):
                await until(partial(is_idle, peer))
            assert not held(peer)


@asynccontextmanager
async def open_ways(world: World) -> AsyncIterator[Ways]:
    """Runs the tracker and the peers while the body runs."""
    (world.folder / "tracker").mkdir()
    async with open_tracker(
        world.folder / "tracker.db", world.folder / "tracker", [Address("127.0.0.1", 0)], network=NETWORK
    ) as tracker:
        known = {"trackers": (tracker.url,), "dht": True}
        origin = await world.peer("origin", network=known)
        known["join"] = (str(origin.addresses[0]),)
        worker = await world.peer("worker", network=known, volunteer={"cores": 1})
        caller = await world.peer("caller", dialable="no", network=known, volunteer={"cores": 1})
        yield Ways(world, origin, worker, caller)


def held(peer: Node) -> list[str]:
    """What activities of a peer hold at the moment."""
    return [
        *(f"job {short(job)}" for job in peer.jobs.claimed),
        *(f"fetch {progress.name}" for _, progress in peer.swarms.fetches),
        *(["a guest"] if peer.sandbox._guests else []),
        *(["cores"] if peer.volunteering is not None and peer.volunteering.busy else []),
        *(["a call"] if peer.calls._calling else []),
        *(["an address to prove"] if peer.presence.contacts._asked else []),
        *(["a command"] if peer.activity.is_busy else []),
    ]


def is_idle(peer: Node) -> bool:
    return not held(peer)


async def attempt(way: Way) -> None:
    """Goes a way, which may fail with words."""
    try:
        await way()
    except* (ShoalError, trio.TooSlowError):
        pass


async def ignore(_: Event) -> None:
    pass
