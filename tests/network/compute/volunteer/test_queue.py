"""Owners who come while a volunteer's cores are busy: each hears when it is its turn, and nobody takes another's."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import trio

from p2p.compute.answers import JobAnswer
from p2p.compute.owner import queueing, recruiter
from p2p.compute.volunteer import job_session, queue, volunteering
from p2p.compute.volunteer.volunteering import MAX_JOBS, Volunteering
from p2p.core.compute import waiting_queue
from p2p.errors import JobError, PeerError
from p2p.ids import to_text
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire import work
from p2p.wire.link import PeerHint
from tests.support.constants import Shorten
from tests.support.pipes import make_dialer
from tests.support.rogues.crowds import dial_from
from tests.support.world import NETWORK, PATIENCE_S, World, hint_of, until
from tests.support.world_jobs import MIB, SUM, Employer, run_job, unit, volunteer, write_job

SQUARES = sum(i * i for i in range(60))
ENDLESS = "def job(inputs):\n    return inputs.range(100_000).map(lambda n: sum(range(100_000)) * 0 + n).sum()\n"
BUSY = "its core is busy"


@pytest.fixture(autouse=True)
def patient(shorten: Shorten) -> None:
    """Whoever is refused does not come again during a test: a turn comes from the line, or not at all."""
    shorten(recruiter, "REFUSED_RETRY_S", 10 * PATIENCE_S)
    shorten(recruiter, "FIRST_RETRY_S", 10 * PATIENCE_S)


@pytest.fixture
def by_events(shorten: Shorten) -> None:
    """Nothing is looked at now and then: what happens at once does, the rest never."""
    for module in (queue, queueing):
        shorten(module, "HEARTBEAT_INTERVAL_S", 10 * PATIENCE_S)
    shorten(queue, "TURN_TIMEOUT_S", 10 * PATIENCE_S)
    shorten(queueing, "ANSWER_TIMEOUT_S", 10 * PATIENCE_S)


def offering(local: Node) -> Volunteering:
    assert local.volunteering is not None
    return local.volunteering


class Job:
    """A job of an owner."""

    def __init__(self, owner: Node) -> None:
        self._owner = owner
        self.progress = Progress()
        self.answer: JobAnswer | None = None

    @property
    def why(self) -> str:
        return self.progress.view.why if self.progress.view is not None else ""

    @property
    def places(self) -> list[int]:
        """In the lines where it waits."""
        view = self.progress.view
        return [one.place for one in view.queued] if view is not None else []

    @property
    def result(self) -> Any:
        """What the job returned, once it has."""
        assert self.answer is not None
        return self.answer.result

    async def run(self, world: World, source: str, *peers: PeerHint, **wish: Any) -> None:
        name = f"{os.urandom(4).hex()}.py"
        self.answer = await run_job(
            self._owner, write_job(world, source, name), peers, progress=self.progress, wait_s=None, **wish
        )

    async def cancel(self) -> None:
        assert self.progress.view is not None
        await self._owner.jobs.cancel(self.progress.view.job)


def begin(nursery: trio.Nursery, world: World, owner: Node, *peers: PeerHint, source: str = SUM, **wish: Any) -> Job:
    job = Job(owner)

    async def run() -> None:
        await job.run(world, source, *peers, **wish)

    nursery.start_soon(run)
    return job


@asynccontextmanager
async def at_work(employer: Employer, node: Node, **changed: Any) -> AsyncIterator[tuple[Connection, work.JobOffer]]:
    """While the body runs an owner has all cores that were free, and gives them nothing to do."""
    offer = employer.offer(await employer.bundle(), **changed)
    connection = await employer.dial(node)
    try:
        await connection.send(offer)
        assert isinstance(await heard(connection), work.JobAccepted)
        yield connection, offer
    finally:
        connection.close()


async def heard(connection: Connection, kind: type[Any] = object) -> Any:
    """The next message that is no heartbeat, and of this kind."""
    with trio.fail_after(PATIENCE_S):
        while isinstance(message := await connection.receive(), work.Heartbeat) or not isinstance(message, kind):
            pass
    return message


@pytest.mark.usefixtures("by_events")
async def test_the_second_owners_job_begins_when_the_first_ends(world: World, nursery: trio.Nursery) -> None:
    node = await volunteer(world)
    async with at_work(Employer(await world.peer("first")), node) as (first, offer):
        second = begin(nursery, world, await world.peer("second"), hint_of(node))
        await until(lambda: second.places == [1])
        assert second.why == f"queued at 1 volunteer, 1st in line: {BUSY}"
        third = begin(nursery, world, await world.peer("third"), hint_of(node))
        await until(lambda: third.places == [2])
        assert third.why == f"queued at 1 volunteer, 2nd in line: {BUSY}"
        assert not offering(node).has_room
        await first.send(work.JobEnd(offer.job))
        await until(lambda: second.answer and third.answer)
    assert second.result == third.result == SQUARES
    assert second.places == third.places == []
    assert offering(node).waiting == 0


@pytest.mark.usefixtures("by_events")
async def test_a_place_that_a_job_leaves_is_for_the_owners_jobs_that_found_none(
    world: World, nursery: trio.Nursery
) -> None:
    """Twenty jobs at once left volunteers idle for seconds: each job that had been declined waited for its own time."""
    node, owner = await volunteer(world), await world.peer("owner")
    jobs = [begin(nursery, world, owner, hint_of(node)) for _ in range(waiting_queue.MAX_PER_OWNER + 4)]
    await until(lambda: all(job.answer is not None for job in jobs))
    assert [job.result for job in jobs] == [SQUARES] * len(jobs)


async def test_a_job_at_work_and_one_in_line_are_cancelled(world: World) -> None:
    node = await volunteer(world)
    owners = [await world.peer(f"owner{n}") for n in range(3)]
    async with trio.open_nursery() as nursery:

        async def run_in_vain(job: Job) -> None:
            with pytest.raises(JobError, match="cancelled"):
                await job.run(world, ENDLESS, hint_of(node), partitions=1000)

        first, second = (Job(owner) for owner in owners[:2])
        nursery.start_soon(run_in_vain, first)
        await until(lambda: offering(node).busy)
        nursery.start_soon(run_in_vain, second)
        await until(lambda: second.places == [1])
        third = begin(nursery, world, owners[2], hint_of(node))
        await until(lambda: third.places == [2])
        await second.cancel()
        await until(lambda: third.places == [1])
        assert offering(node).waiting == 1
        assert not third.answer
        await first.cancel()
    assert third.result == SQUARES


@pytest.mark.usefixtures("by_events")
async def test_a_paused_volunteer_serves_its_line_when_it_goes_on(world: World, nursery: trio.Nursery) -> None:
    node = await volunteer(world)
    offering(node).pause(True)
    paused = begin(nursery, world, await world.peer("owner"), hint_of(node))
    await until(lambda: paused.why == "queued at 1 volunteer, 1st in line: paused by its user")
    other = begin(nursery, world, await world.peer("other"), hint_of(node))
    await until(lambda: other.places == [2])
    offering(node).pause(False)
    await until(lambda: paused.answer and other.answer)
    assert paused.result == other.result == SQUARES


async def test_a_job_says_when_all_its_volunteers_are_paused(world: World) -> None:
    nodes, owner = [await volunteer(world, f"v{n}") for n in range(2)], await world.peer("owner")
    async with trio.open_nursery() as nursery:
        job = begin(nursery, world, owner, *map(hint_of, nodes), source=ENDLESS, partitions=10_000)
        await until(lambda: all(offering(node).units_done for node in nodes))
        for node in nodes:
            offering(node).pause(True)
        await until(lambda: job.why == "the volunteers are paused, or busy with other jobs")
        offering(nodes[0]).pause(False)
        await until(lambda: not job.why)
        nursery.cancel_scope.cancel()


async def test_a_job_waits_in_several_lines_until_enough_are_at_work(world: World, nursery: trio.Nursery) -> None:
    nodes = [await volunteer(world, f"v{n}") for n in range(2)]
    employer = Employer(await world.peer("first"))
    async with at_work(employer, nodes[0]), at_work(employer, nodes[1]) as (freed, offer):
        job = begin(
            nursery,
            world,
            await world.peer("owner"),
            *map(hint_of, nodes),
            source=ENDLESS,
            volunteers=1,
            partitions=1000,
        )
        await until(lambda: job.places == [1, 1])
        assert job.why == f"queued at 2 volunteers, 1st in line at best: {BUSY}"
        await freed.send(work.JobEnd(offer.job))
        await until(lambda: offering(nodes[0]).waiting == 0)
        await until(lambda: job.progress.view is not None and job.progress.view.volunteers)
        assert job.progress.view is not None
        assert [one.peer for one in job.progress.view.volunteers] == [to_text(nodes[1].peer_id)]
        # When that one is lost, the other's line is the next best.
        await world.stop("v1")
        await until(lambda: job.places == [1])
    nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("by_events")
async def test_cores_that_are_given_back_go_to_who_waits(world: World) -> None:
    node = await volunteer(world, cores=4)
    employer, other = Employer(await world.peer("first")), Employer(await world.peer("second"))
    bundle = await other.bundle()
    async with at_work(employer, node) as (first, _):
        second = await other.dial(node)
        await second.send(offer := other.offer(bundle, waits=True))
        assert await heard(second) == work.JobQueued(1, "no core is free")
        await first.send(work.Slots(1))
        assert await heard(first) == work.Slots(1)
        assert await heard(second) == work.JobQueued(0)
        # They are not for who has some.
        await first.send(work.Slots(4))
        assert await heard(first) == work.Slots(1)
        await second.send(offer)
        assert (await heard(second, work.JobAccepted)).slots == 3
        second.close()
        await until(lambda: len(offering(node).jobs) == 1)
        await first.send(work.Slots(4))
        assert await heard(first) == work.Slots(4)


@pytest.mark.usefixtures("by_events")
async def test_who_has_nothing_comes_before_who_has_cores_already(world: World) -> None:
    node = await volunteer(world, cores=2)
    rich, poor = Employer(await world.peer("rich")), Employer(await world.peer("poor"))
    async with at_work(rich, node) as (first, _):
        again, other = await rich.dial(node), await poor.dial(node)
        await again.send(rich.offer(bytes(32), waits=True))
        assert (await heard(again)).place == 1
        await other.send(poor.offer(bytes(32), waits=True))
        assert (await heard(other)).place == 1
        while (await heard(again)).place != 2:
            pass
        await first.send(work.Slots(1))
        while (await heard(other)).place:
            pass
        again.close()
        other.close()


async def test_an_owner_that_begins_anew_keeps_its_place_at_work(world: World, nursery: trio.Nursery) -> None:
    node = await volunteer(world)
    employer = Employer(await world.peer("first"))
    async with at_work(employer, node) as (_, offer):
        job = begin(nursery, world, await world.peer("owner"), hint_of(node))
        await until(lambda: job.places == [1])
        anew = await employer.dial(node)
        await anew.send(offer)
        assert isinstance(await heard(anew), work.JobAccepted)
        await until(lambda: job.places == [1])  # for a moment, the other was before it
        anew.close()
        await until(lambda: job.answer)
    assert job.result == SQUARES


async def test_an_owner_with_nothing_to_do_makes_room_for_who_waits(
    world: World, nursery: trio.Nursery, shorten: Shorten
) -> None:
    node = await volunteer(world)
    async with at_work(Employer(await world.peer("idler")), node) as (idler, _):
        job = begin(nursery, world, await world.peer("owner"), hint_of(node))
        await until(lambda: job.places == [1])
        shorten(volunteering, "IDLE_TIMEOUT_S", 0.1)
        with pytest.raises(PeerError):
            await heard(idler, work.JobEnd)
        await until(lambda: job.answer)
    assert job.result == SQUARES


# Misuse.


async def crowd(world: World, node: Node, count: int, number: int = 0) -> list[tuple[Connection, Any]]:
    """So many owners of a network that offer and would wait, with what they are answered."""
    employer, said = Employer(node), []
    for n in range(count):
        dialer = make_dialer(world.folder / f"rogue{number}.{n}", NETWORK)
        connection = await dial_from(dialer, f"127.{number}.0.1", hint_of(node).address)
        await connection.send(employer.offer(bytes(32), waits=True))
        said.append((connection, await heard(connection)))
    return said


async def test_a_crowd_of_owners_has_few_places_and_who_finds_none_asks_again(
    world: World, nursery: trio.Nursery, shorten: Shorten
) -> None:
    shorten(waiting_queue, "MAX_WAITING", 5)
    shorten(recruiter, "FIRST_RETRY_S", 0.01)
    shorten(recruiter, "MAX_QUICK_RETRIES", 1000)
    shorten(recruiter, "REFUSED_RETRY_S", 0.1)
    shorten(recruiter, "FIND_INTERVAL_S", 0.1)
    node = await volunteer(world)
    async with at_work(Employer(await world.peer("first")), node):
        came = await crowd(world, node, 9)
        assert [answer.place for _, answer in came[:5]] == [1, 2, 3, 4, 5]
        assert [answer for _, answer in came[5:]] == [work.JobRefused(BUSY)] * 4
        honest = begin(nursery, world, await world.peer("honest"), hint_of(node))
        await until(lambda: honest.why.endswith(f"none takes the job: 1 said: {BUSY}"))
        assert offering(node).waiting == 5
        others = await crowd(world, node, 2, number=1)
        assert all(isinstance(answer, work.JobQueued) for _, answer in others)
        for displaced, _ in came[3:5]:
            assert await heard(displaced, work.JobRefused) == work.JobRefused(BUSY)
            with pytest.raises(PeerError):
                await displaced.receive()
        assert offering(node).waiting == 5
        for connection, _ in (*came, *others):
            connection.close()
        await until(lambda: honest.places == [1])
    await until(lambda: honest.answer)
    assert honest.result == SQUARES


async def test_owners_that_do_not_take_their_turns_hold_nobody_up(
    world: World, nursery: trio.Nursery, shorten: Shorten
) -> None:
    shorten(queue, "TURN_TIMEOUT_S", 0.5)
    for module in (queue, queueing):
        shorten(module, "HEARTBEAT_INTERVAL_S", 0.1)
    shorten(recruiter, "REFUSED_RETRY_S", 0.1)  # the honest one may be slow here
    shorten(recruiter, "FIND_INTERVAL_S", 0.1)

    async def beat(connection: Connection) -> None:
        with suppress(PeerError):
            while True:
                await connection.send(work.Heartbeat())
                await trio.sleep(0.1)

    node = await volunteer(world)
    async with at_work(Employer(await world.peer("first")), node):
        came = await crowd(world, node, 3)
        for connection, _ in came:
            nursery.start_soon(beat, connection)
        honest = begin(nursery, world, await world.peer("honest"), hint_of(node))
        await until(lambda: honest.places)  # behind those of the crowd that a slow machine has not silenced
    await until(lambda: honest.answer)
    assert honest.result == SQUARES
    for connection, _ in came:
        connection.close()


@pytest.mark.usefixtures("by_events")
async def test_who_lets_its_turn_pass_and_comes_again_is_behind_the_others(world: World) -> None:
    node = await volunteer(world)
    rogue, honest = Employer(await world.peer("rogue")), Employer(await world.peer("honest"))
    async with at_work(Employer(await world.peer("first")), node) as (first, offer):
        waits = [await employer.dial(node) for employer in (rogue, rogue, honest)]
        for connection, employer, place in zip(waits, (rogue, rogue, honest), (1, 2, 2), strict=True):
            await connection.send(employer.offer(bytes(32), waits=True))
            assert (await heard(connection)).place == place
        await first.send(work.JobEnd(offer.job))
        await until(lambda: not offering(node).busy)
        while (await heard(waits[0])).place:
            pass
        waits[0].close()
        again = await rogue.dial(node)
        await again.send(rogue.offer(bytes(32), waits=True))
        while (await heard(waits[2])).place:
            pass
        for connection in (*waits, again):
            connection.close()


@pytest.mark.usefixtures("by_events")
async def test_who_had_to_make_room_and_comes_back_at_once_is_not_first(world: World, shorten: Shorten) -> None:
    node = await volunteer(world)
    idler, honest = Employer(await world.peer("idler")), Employer(await world.peer("honest"))
    async with at_work(idler, node) as (idle, offer):
        other = await honest.dial(node)
        await other.send(honest.offer(bytes(32), waits=True))
        assert (await heard(other)).place == 1
        async with node.open_shares._budget.dropping:  # what is left of the job is not swept yet
            shorten(volunteering, "IDLE_TIMEOUT_S", 0.1)
            with pytest.raises(PeerError):
                await heard(idle, work.JobEnd)
            back = await idler.dial(node)
            await back.send(msgspec.structs.replace(offer, waits=True))
            await until(lambda: offering(node).waiting == 2)
        assert await heard(other) == work.JobQueued(0)
        assert (await heard(back)).place == 2
        back.close()
        other.close()


@pytest.mark.usefixtures("by_events")
async def test_an_owner_whose_units_wait_where_it_wants_no_cores_makes_room(
    world: World, nursery: trio.Nursery, shorten: Shorten
) -> None:
    shorten(volunteering, "IDLE_TIMEOUT_S", 0.1)
    shorten(job_session, "SILENCE_TIMEOUT_S", 10 * PATIENCE_S)
    node, rogue = await volunteer(world), Employer(await world.peer("rogue"))
    bundle = await rogue.bundle()
    came = []
    for _ in range(MAX_JOBS):
        came.append(connection := await rogue.dial(node))
        await connection.send(rogue.offer(bundle))
        assert isinstance(await heard(connection), work.JobAccepted)
        await connection.send(work.Slots(0), work.Units((unit(),)))
        await heard(connection, work.Slots)
    assert not offering(node).has_room
    job = begin(nursery, world, await world.peer("honest"), hint_of(node))
    await until(lambda: job.answer)
    assert job.result == SQUARES
    for connection in came:
        connection.close()


async def test_a_flood_of_owners_that_come_and_go_keeps_nobody_out(world: World, nursery: trio.Nursery) -> None:
    node = await volunteer(world)
    employer, dialer = Employer(node), make_dialer(world.folder / "rogue", NETWORK)
    came = 0

    async def flood() -> None:
        nonlocal came
        while True:
            with suppress(PeerError):
                connection = await dialer.dial(hint_of(node).address, node.peer_id)
                try:
                    await connection.send(employer.offer(bytes(32), waits=True, memory=MIB))
                    came += isinstance(await connection.receive(), work.JobQueued)
                finally:
                    connection.close()
            await trio.sleep(0.005)

    async with trio.open_nursery() as rogues:
        async with at_work(Employer(await world.peer("first")), node):
            for _ in range(4):
                rogues.start_soon(flood)
            honest = begin(nursery, world, await world.peer("honest"), hint_of(node))
            await until(lambda: honest.places)
            await until(lambda: came > 20)
        await until(lambda: honest.answer)
        rogues.cancel_scope.cancel()
    assert honest.result == SQUARES
    await until(lambda: offering(node).waiting == 0)
