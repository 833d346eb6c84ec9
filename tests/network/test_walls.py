"""Every wall of a peer: whatever is thrown behind it, what was held is given back, and the peer lives and works on.

The walls are taken from the register, so that a new one is tried too, or the test says that nothing led to it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NoReturn

import pytest
import trio

from p2p.compute.owner import recruiter
from p2p.concurrency import walls
from p2p.concurrency.walls import WALLS, Wall
from p2p.control.protocol import Event, SearchRequest, StatusRequest
from p2p.errors import ShoalError
from p2p.ids import short
from p2p.node import Node
from p2p.wire.address import Address
from tests.support.compiled import compiled as compiled
from tests.support.constants import Shorten
from tests.support.world import NETWORK, World, hint_of
from tests.support.world_jobs import run_job, write_job
from tracker.server import open_tracker

PATIENCE_S = 60.0
COUNT = "def job(inputs):\n    return inputs.lines().count()\n"
OF_THE_TRACKER = {
    "batch of announces",
    "dial-back",
    "feed of figures",
    "periodic task of the tracker",
    "request over HTTP",
}
ELSEWHERE = {"command line", "beacon", "look at the local network"}
"""Walls outside of any peer, and those of the local network, which tests of their own try."""
WITHOUT_A_PAUSE = {"datagram"}
"""What is behind these walls never waits, so nothing can be thrown in the middle."""
KEPT = {
    "periodic task of the peer",
    "part in the DHT",
    "upkeep of the DHT node",
    "announce to a tracker",
    "search for owners",
}
"""Tasks that last as long as the peer."""


class Surprise(Exception):
    """Stands for a bug."""


class Saboteur:
    """Throws a `Surprise` behind walls: at the next entry, or where the task behind the wall waits just now."""

    def __init__(self) -> None:
        self.entered: Counter[str] = Counter()
        self.inside: dict[str, list[trio.lowlevel.Task]] = {}
        self.armed: set[str] = set()

    @contextmanager
    def behind(self, name: str) -> Iterator[None]:
        self.entered[name] += 1
        if name in self.armed:
            self.armed.discard(name)
            raise Surprise
        tasks = self.inside.setdefault(name, [])
        task = trio.lowlevel.current_task()
        tasks.append(task)
        try:
            yield
        finally:
            tasks.remove(task)

    async def strike(self, name: str) -> None:
        """Throws in the middle of a task behind the wall, which has to be there soon."""
        count = walls.bugs.count
        while walls.bugs.count == count:
            for task in self.inside.get(name, [])[-1:]:
                if task._abort_func is not None:
                    task._attempt_abort(_surprise)
            await trio.sleep(0.001)

    async def returned(self, name: str) -> None:
        """Waits until there is a task behind the wall again."""
        await _until(lambda: bool(self.inside.get(name)))


def _surprise() -> NoReturn:
    raise Surprise


@pytest.fixture
def saboteur(monkeypatch: pytest.MonkeyPatch) -> Saboteur:
    made, around = Saboteur(), Wall.around

    @contextmanager
    def watched(wall: Wall) -> Iterator[None]:
        with around(wall), made.behind(wall.name):
            yield

    monkeypatch.setattr(Wall, "around", watched)
    return made


async def ignore(_: Event) -> None:
    pass


async def test_nothing_thrown_behind_a_wall_ends_a_peer(
    world: World, compiled: None, saboteur: Saboteur, shorten: Shorten, expects_bugs: Callable[[int], None]
) -> None:
    shorten(recruiter, "REFUSED_RETRY_S", 0.1)
    shorten(recruiter, "FIND_INTERVAL_S", 0.1)
    before = walls.bugs.count
    (world.folder / "tracker").mkdir()
    async with open_tracker(
        world.folder / "tracker.db", world.folder / "tracker", [Address("127.0.0.1", 0)], network=NETWORK
    ) as tracker:
        known = {"trackers": (tracker.url,), "dht": True}
        origin = await world.peer("origin", network=known)
        known["join"] = (str(origin.addresses[0]),)
        worker = await world.peer("worker", network=known, volunteer={"cores": 1})
        caller = await world.peer("caller", dialable="no", network=known, volunteer={"cores": 1})
        job, made = write_job(world, COUNT), iter(range(1000))

        async def fetch() -> None:
            number = next(made)
            published = await world.publish(origin, {"a": 3_000_000}, f"data-{number}", number)
            origin.presence.contacts._known.clear()
            await world.get(worker, published.link, [published.hint], folder=world.folder / f"{number}")

        async def call() -> None:
            number = next(made)
            published = await world.publish(caller, {"a": 100_000}, f"data-{number}", number)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(world.get, worker, published.link, folder=world.folder / f"{number}"))
                await _until(lambda: worker.swarms.taker(published.link.share_id) is not None)
                caller.calls.wanted(published.link.share_id, worker.peer_id, worker.addresses[0])

        async def compute() -> None:
            lines = world.folder / f"lines-{next(made)}"
            lines.write_text("one\ntwo\n" * 1000)
            await run_job(origin, job, [hint_of(worker)], wait_s=None, inputs=(str(lines),))

        async def look() -> None:
            await worker.operations.perform(StatusRequest(), ignore, keep_serving=True)
            await origin.operations.perform(SearchRequest(query="data"), ignore, keep_serving=True)

        ways: list[Callable[[], Awaitable[None]]] = [fetch, look, compute, call]
        leads_to: dict[str, Callable[[], Awaitable[None]]] = {}
        for way in ways:
            earlier = saboteur.entered.copy()
            await way()
            leads_to = dict.fromkeys(saboteur.entered - earlier, way) | leads_to

        tried = WALLS.keys() - OF_THE_TRACKER - ELSEWHERE - KEPT
        assert sorted(tried - leads_to.keys()) == []
        for name in sorted(tried):
            throws = [partial(_arm, saboteur, name)]
            if name not in WITHOUT_A_PAUSE:
                throws.append(partial(saboteur.strike, name))
            for throw in throws:
                await _go_wrong(leads_to[name], throw)
                for peer in (origin, worker, caller):
                    await _holds_nothing(peer)
        with trio.fail_after(PATIENCE_S):
            for name in sorted(KEPT):
                await saboteur.strike(name)
                await _arm(saboteur, name)
                await saboteur.returned(name)
        for way in ways:
            await way()
    expects_bugs(walls.bugs.count - before)


async def _arm(saboteur: Saboteur, name: str) -> None:
    count = walls.bugs.count
    saboteur.armed.add(name)
    await _until(lambda: walls.bugs.count > count)


async def _go_wrong(way: Callable[[], Awaitable[None]], throw: Callable[[], Awaitable[None]]) -> None:
    """Goes this way, again and again, until something was thrown. Then it may fail with words, and no more."""
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            thrown = trio.Event()

            async def go() -> None:
                while not thrown.is_set():
                    with suppress(ShoalError):
                        await way()

            nursery.start_soon(go)
            await throw()
            thrown.set()


async def _holds_nothing(peer: Node) -> None:
    """Waits until the peer has given back everything that activities hold."""

    def held() -> list[str]:
        return [
            *(f"job {short(job)}" for job in peer.jobs.claimed),
            *(f"fetch {progress.name}" for _, progress in peer.swarms.fetches),
            *(["a guest"] if peer.sandbox._guests else []),
            *(["cores"] if peer.volunteering is not None and peer.volunteering.busy else []),
            *(["a call"] if peer.calls._calling else []),
            *(["an address to prove"] if peer.presence.contacts._asked else []),
            *(["a command"] if peer.server._commands else []),
        ]

    with trio.move_on_after(PATIENCE_S):
        await _until(lambda: not held())
    assert not held()


async def _until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110  nothing tells a test of these
        await trio.sleep(0.005)
