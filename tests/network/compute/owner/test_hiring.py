"""Volunteers and owners of whom one cannot be dialled work together all the same; nobody can misuse that they call."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p.advertising.adverts import gather
from p2p.compute.answers import JobAnswer
from p2p.compute.owner import recruiter
from p2p.compute.runtimes import all_runtimes
from p2p.compute.volunteer import job_session, owner_search
from p2p.errors import PeerError, PeerGone
from p2p.net.connection import Connection
from p2p.node import Node
from p2p.progress import Progress
from p2p.wire import messages, work
from p2p.wire.link import PeerHint
from p2p.wire.records import WHOLE, Provider, RecordKind, hiring_key
from p2p.wire.tracker import Capacity, Provided, key_text
from tests.support.constants import Shorten
from tests.support.pipes import make_dialer
from tests.support.rogues.crowds import dial_from
from tests.support.world import NETWORK, World, hint_of, start_rogue, until
from tests.support.world_jobs import SUM, run_job, volunteer, write_job

MIB = 1024 * 1024
PYTHON = "python-wasm"
SQUARES = sum(i * i for i in range(60))
LINES = "def job(inputs):\n    return inputs.lines().map(len).sum()\n"


@pytest.fixture(autouse=True)
def hasty(shorten: Shorten) -> None:
    shorten(recruiter, "FIND_INTERVAL_S", 0.2)
    shorten(owner_search, "MIN_LOOK_INTERVAL_S", 0.05)
    shorten(owner_search, "LOOK_INTERVAL_S", 0.1)


async def hidden(world: World, name: str = "hidden", **more: Any) -> Node:
    """A volunteer that cannot be dialled."""
    local = await world.peer(name, dialable="no", volunteer={"cores": 1}, **more)
    await local.sandbox.prepare(all_runtimes()[0])
    return local


def tell(local: Node, *owners: PeerHint) -> None:
    """What a tracker would tell a volunteer."""
    for owner in owners:
        assert owner.peer_id is not None
        local.calls.wanted(hiring_key(PYTHON), owner.peer_id, owner.address)


class Job:
    """A job of an owner, under way in a task of its own."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.answer: JobAnswer | None = None

    @property
    def result(self) -> Any:
        """What the job returned, once it has."""
        assert self.answer is not None
        return self.answer.result

    @property
    def why(self) -> str:
        return self.progress.view.why if self.progress.view is not None else ""


@asynccontextmanager
async def running(
    world: World, owner: Node, source: str = SUM, peers: Sequence[PeerHint] = (), **wish: Any
) -> AsyncIterator[Job]:
    """A job that looks for volunteers when the body begins, and has its answer after it."""
    job = Job()

    async def run() -> None:
        job.answer = await run_job(
            owner, write_job(world, source), peers, progress=job.progress, runtime=PYTHON, **wish
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until(lambda: job.progress.view is not None and job.progress.view.state == "running")
        yield job


def announced(node: Node) -> tuple[Provided, ...]:
    """The keys besides shares that trackers are told."""
    return gather(node.announcer._deps.adverts).keys


# Found, and at work.


async def test_a_volunteer_that_cannot_be_dialled_calls_the_owner(world: World) -> None:
    owner, caller = await world.peer("owner"), await hidden(world)
    (offered,) = [one for one in announced(caller) if one.key == key_text(hiring_key(PYTHON))]
    assert offered.whole
    async with running(world, owner) as job:
        (sought,) = announced(owner)
        assert (sought.key, sought.whole) == (offered.key, False)
        tell(caller, hint_of(owner))
    assert job.result == SQUARES
    assert not announced(owner)
    assert owner.presence.contacts.address_of(caller.peer_id) is None


async def test_it_comes_again_for_the_next_job_without_being_told(world: World) -> None:
    owner, caller = await world.peer("owner"), await hidden(world)
    async with running(world, owner) as first:
        tell(caller, hint_of(owner))
        await until(lambda: first.answer)
        async with running(world, owner) as second:
            pass
    assert first.result == second.result == SQUARES


async def test_who_can_be_dialled_announces_nothing(world: World) -> None:
    local = await volunteer(world)
    assert not announced(local)
    assert not announced(local)
    tell(local, hint_of(await world.peer("owner")))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert not local.calls._past


async def test_owners_are_found_over_the_dht(world: World) -> None:
    owner = await world.peer("owner", network={"dht": True})
    joins = {"dht": True, "join": (str(owner.addresses[0]),)}
    middle, caller = await world.peer("middle", network=joins), await hidden(world, network=joins)
    async with running(world, owner) as job:
        pass
    assert job.result == SQUARES
    assert middle.discovery.overlays is not None
    (record,) = (await middle.discovery.overlays.get(hiring_key(PYTHON), RecordKind.PROVIDER, enough=None)).values()
    assert record.publisher == owner.peer_id
    assert isinstance(record.payload, Provider)
    assert record.payload.held != WHOLE
    assert caller.volunteering is not None
    assert caller.volunteering.units_done > 0


async def test_neighbours_are_asked_for_work(world: World) -> None:
    lan = {"lan": True, "name": f"test-hiring-{os.getpid()}"}
    owner, caller = await world.peer("owner", network=lan), await hidden(world, network=lan)
    async with running(world, owner) as job:
        pass
    assert job.result == SQUARES
    assert caller.volunteering is not None
    assert caller.volunteering.units_done > 0


async def test_an_owner_that_cannot_be_dialled_calls_its_volunteers_about_bundle_and_input(world: World) -> None:
    owner = await world.peer("owner", dialable="no")
    both = [await volunteer(world, f"v{n}") for n in range(2)]
    text = world.folder / "text.txt"
    text.write_bytes(b"some words\n" * 200_000)
    async with running(world, owner, LINES, list(map(hint_of, both)), inputs=(str(text),), partitions=8) as job:
        pass
    assert job.result == 200_000 * len("some words")
    assert sum(local.traffic.bytes_downloaded for local in both) >= text.stat().st_size
    assert not owner.presence.reachability.advertised(owner.addresses)


async def test_an_owner_that_is_dialled_in_vain_is_asked_to_call(world: World, shorten: Shorten) -> None:
    """It says where it listens, but nobody can reach it there."""
    shorten(job_session, "ASK_INTERVAL_S", 0.1)
    owner, one = await world.peer("owner"), await volunteer(world)
    with trio.socket.socket() as closed:
        await closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        owner.dialer.port = closed.getsockname()[1]
        async with running(world, owner, peers=[hint_of(one)]) as job:
            pass
    assert job.result == SQUARES


async def test_neither_can_be_dialled_and_the_user_is_told(world: World) -> None:
    middle = await world.peer("middle", network={"dht": True})
    joins = {"dht": True, "join": (str(middle.addresses[0]),)}
    await hidden(world, network=joins)
    owner = await world.peer("owner", dialable="no", network=joins)
    says = "1 peer found, none takes the job: 1 cannot be dialled, and neither can this peer"
    async with trio.open_nursery() as nursery, running(world, owner) as job:
        await until(lambda: job.why == says)
        nursery.cancel_scope.cancel()


# Misuse of owners.


class Caller:
    """Somebody who calls owners, in a conversation of the test's own."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.dialer = make_dialer(folder, NETWORK)
        self._host = host

    @asynccontextmanager
    async def calling(self, owner: Node, **said: Any) -> AsyncIterator[tuple[Connection, Any]]:
        """The connection, and the answer to `Volunteering`."""
        connection = await dial_from(self.dialer, self._host, owner.addresses[0])
        try:
            await connection.send(work.VolunteerCall(**said))
            yield connection, await connection.receive()
        finally:
            connection.close()


async def test_who_has_no_job_has_no_offer(world: World, tmp_path: Path) -> None:
    local = await world.peer("local")
    async with Caller(tmp_path / "caller").calling(local) as (connection, answer):
        assert answer == work.JobRefused("no job wants volunteers")
        await connection.send(*[work.VolunteerCall()] * 3, messages.Browse())
        assert [await connection.receive() for _ in range(3)] == [answer] * 3
        assert isinstance(await connection.receive(), messages.Listed)


async def test_a_job_is_offered_to_those_who_can_work_on_it(world: World, tmp_path: Path) -> None:
    owner, one = await world.peer("owner"), await volunteer(world)
    callers = [Caller(tmp_path / f"caller{n}") for n in range(5)]
    refused = work.JobRefused("no job wants volunteers")
    async with running(world, owner) as job:
        for caller, capacity in (
            (callers[0], Capacity(("python-wasm-science",), 4, 1 << 40)),
            (callers[1], Capacity((PYTHON,), 4, 1 * MIB)),
        ):
            async with caller.calling(owner, capacity=capacity) as (_, answer):
                assert answer == refused
        async with callers[2].calling(owner, job=os.urandom(32)) as (_, answer):
            assert answer == refused
        (underway,) = owner.jobs.under_way
        async with callers[3].calling(owner, job=underway.id, capacity=Capacity((PYTHON,), 1, 1 << 40)) as (_, answer):
            assert isinstance(answer, work.JobOffer)
            assert answer.job == underway.id
        underway.run.recruiter._peers = [hint_of(one)]
    assert job.result == SQUARES


async def test_callers_that_do_not_answer_have_few_places_and_do_not_keep_others_out(
    world: World, tmp_path: Path, nursery: trio.Nursery
) -> None:
    owner, one = await world.peer("owner"), await volunteer(world)
    held: list[Any] = []

    async def hold(caller: Caller) -> None:
        with suppress(PeerError):
            async with caller.calling(owner) as (connection, answer):
                held.append(answer)
                await connection.receive()

    mute = [Caller(tmp_path / f"mute{n}") for n in range(recruiter.MAX_CALLERS)]
    async with running(world, owner, volunteers=1) as job:
        for caller in mute:
            nursery.start_soon(hold, caller)
        await until(lambda: len(held) == len(mute))
        assert all(isinstance(answer, work.JobOffer) for answer in held)
        async with Caller(tmp_path / "late").calling(owner) as (_, answer):
            assert isinstance(answer, work.JobRefused), "all places are taken by its own network"
        async with Caller(tmp_path / "other", "127.1.0.1").calling(owner) as (_, answer):
            assert isinstance(answer, work.JobOffer), "one of the crowd makes room"
        # One volunteer is wanted, and those who only called do not count.
        (underway,) = owner.jobs.under_way
        underway.run.recruiter._peers = [hint_of(one)]
    assert job.result == SQUARES
    nursery.cancel_scope.cancel()


async def test_who_refuses_is_not_offered_the_job_again_at_once(world: World, tmp_path: Path) -> None:
    owner, caller = await world.peer("owner"), Caller(tmp_path / "caller")
    honest = await hidden(world)
    async with running(world, owner) as job:
        async with caller.calling(owner) as (connection, answer):
            assert isinstance(answer, work.JobOffer)
            await connection.send(work.JobRefused("not today"))
            with pytest.raises(PeerGone):
                await connection.receive()
        for _ in range(3):
            async with caller.calling(owner) as (_, answer):
                assert isinstance(answer, work.JobRefused)
        tell(honest, hint_of(owner))
    assert job.result == SQUARES


async def test_no_more_are_hired_than_are_wanted(world: World, tmp_path: Path) -> None:
    owner, honest = await world.peer("owner"), await hidden(world)
    first, second = (Caller(tmp_path / f"caller{n}") for n in range(2))
    async with running(world, owner, volunteers=1) as job:
        async with first.calling(owner) as (one, offer), second.calling(owner) as (other, _):
            assert isinstance(offer, work.JobOffer)
            await one.send(work.JobAccepted(1, 1))
            await until(lambda: any(underway.run.recruiter.engaged for underway in owner.jobs.under_way))
            await other.send(work.JobAccepted(1, 1))
            assert await other.receive() == work.JobEnd(offer.job)
        await until(lambda: not any(underway.run.recruiter.engaged for underway in owner.jobs.under_way))
        tell(honest, hint_of(owner))
    assert job.result == SQUARES


async def test_floods_of_volunteering_neither_kill_nor_starve(world: World, tmp_path: Path) -> None:
    owner, honest = await world.peer("owner"), await hidden(world)

    async def flood(folder: Path) -> None:
        dialer = make_dialer(folder, NETWORK)
        while True:
            with suppress(PeerError):
                connection = await dialer.dial(owner.addresses[0], owner.peer_id)
                try:
                    while True:
                        await connection.send(*[work.VolunteerCall()] * 500)
                finally:
                    connection.close()
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        async with running(world, owner) as job:
            for number in range(2):
                nursery.start_soon(flood, tmp_path / f"rogue{number}")
            tell(honest, hint_of(owner))
        nursery.cancel_scope.cancel()
    assert job.result == SQUARES


async def test_a_volunteer_that_asks_to_be_called_about_anything_is_called_about_the_job_alone(
    world: World, nursery: trio.Nursery
) -> None:
    owner, one = await world.peer("owner"), await volunteer(world)
    other = await world.publish(owner, {"private.bin": 1000})
    said: list[bytes] = []

    async def behave(connection: Connection) -> None:
        message = await connection.receive()
        if isinstance(message, messages.Offer):
            said.append(message.share)
        if not isinstance(message, work.JobOffer):
            return
        await connection.send(work.JobAccepted(1, 1))
        asks = [messages.DialMe(share=share) for share in (other.link.share_id, bytes(32), message.bundle)]
        with suppress(PeerError):
            await connection.send(*asks * 100)
            while True:
                await connection.receive()

    rogue = await start_rogue(nursery, owner, behave)
    async with running(world, owner, peers=[rogue.hint]) as job:
        await until(lambda: said)
        (underway,) = owner.jobs.under_way
        bundle = underway.run._setup.bundle
        underway.run.recruiter._peers = [hint_of(one)]
    assert set(said) == {bundle}
    assert job.result == SQUARES
    nursery.cancel_scope.cancel()


# Misuse of volunteers.


async def refuses(connection: Connection) -> None:
    await connection.receive()
    await connection.send(work.JobRefused("no"))
    await connection.receive()


async def says_nothing(connection: Connection) -> None:
    while True:
        await connection.receive()


async def ends_at_once(connection: Connection) -> None:
    """Lures with a job that is over."""
    await connection.receive()
    offer = work.JobOffer(os.urandom(32), bytes(32), PYTHON, all_runtimes()[0].digest, 1, 1.0, 1, 1)
    await connection.send(offer, work.JobEnd(offer.job))
    while True:
        await connection.receive()


async def says_something_else(connection: Connection) -> None:
    await connection.receive()
    await connection.send(messages.Browse())
    await connection.receive()


async def test_owners_that_have_no_work_are_called_ever_less_often(world: World, shorten: Shorten) -> None:
    shorten(owner_search, "OFFER_TIMEOUT_S", 0.3)
    owner, caller = await world.peer("owner"), await hidden(world)
    lures = [refuses, says_nothing, ends_at_once, says_something_else]
    came: list[list[float]] = [[] for _ in lures]

    async def behave(number: int, connection: Connection) -> None:
        came[number].append(trio.current_time())
        await lures[number](connection)

    async with trio.open_nursery() as nursery:
        rogues = [await start_rogue(nursery, caller, partial(behave, number)) for number in range(len(lures))]

        async def insist() -> None:
            while True:
                tell(caller, *(rogue.hint for rogue in rogues))
                await trio.sleep(0.01)

        nursery.start_soon(insist)
        await until(lambda: min(map(len, came)) == 3)
        for first, second, third, *_ in came:
            assert second - first >= 0.5
            assert third - second >= 1.0
        async with running(world, owner) as job:
            tell(caller, hint_of(owner))
        assert job.result == SQUARES
        nursery.cancel_scope.cancel()


async def holds(connection: Connection) -> None:
    """Takes all cores, for a job whose bundle nobody has."""
    await connection.receive()
    await connection.send(work.JobOffer(os.urandom(32), bytes(32), PYTHON, all_runtimes()[0].digest, MIB, 1.0, MIB, 1))
    while True:
        await connection.receive()


async def test_a_volunteer_calls_only_while_it_would_work(world: World) -> None:
    owner, caller = await world.peer("owner"), await hidden(world)
    volunteering = caller.volunteering
    assert volunteering is not None
    came: list[Connection] = []

    async def count(connection: Connection) -> None:
        came.append(connection)

    async with trio.open_nursery() as nursery:
        holder, other = await start_rogue(nursery, caller, holds), await start_rogue(nursery, caller, count)
        tell(caller, holder.hint)
        await until(lambda: volunteering.busy)
        tell(caller, other.hint)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not came, "its core is taken"
        assert other.hint.peer_id not in {peer for peer, _ in caller.calls._past}
        nursery.cancel_scope.cancel()
    await until(lambda: not volunteering.busy)
    async with running(world, owner) as job:
        volunteering.pause(True)
        assert not announced(caller)
        tell(caller, hint_of(owner))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert owner.peer_id not in {peer for peer, _ in caller.calls._past}
        volunteering.pause(False)
        tell(caller, hint_of(owner))
    assert job.result == SQUARES
