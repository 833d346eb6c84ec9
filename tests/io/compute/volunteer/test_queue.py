"""An owner in a volunteer's line: what is said while it waits, and what becomes of those who do not keep to it."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.compute.owner import queueing
from p2p.compute.volunteer.queue import TURN_TIMEOUT_S, QueuedOwner
from p2p.concurrency.bell import Bell
from p2p.errors import PeerError, PeerGone, ProtocolViolation
from p2p.net import pace
from p2p.net.connection import Connection
from p2p.wire import work
from p2p.wire.work import JobAccepted, JobOffer, JobQueued
from tests.support.pipes import connections, endlessly

JOB = b"j" * 32
BUSY = "its core is busy"
HOUR_S = 3600.0


def offer(port: int = 1, *, job: bytes = JOB, waits: bool = True) -> JobOffer:
    return JobOffer(job, bytes(32), "python-wasm", bytes(32), 1, 1.0, 1, 1, port=port, waits=waits)


class At:
    """Where an owner is in line, as a test has it."""

    def __init__(self, place: int) -> None:
        self._place = place
        self.reason = BUSY
        self.changes = Bell()

    def move(self, place: int, reason: str = BUSY) -> None:
        self._place, self.reason = place, reason
        self.changes.ring()

    def waiter(self, connection: Connection) -> QueuedOwner:
        return QueuedOwner(connection, lambda: self._place, lambda: self.reason, self.changes)


class Owner:
    """One that waits as owners do: how often it offered, where it was told to be, and the answer in the end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.offers = 0
        self.told: list[JobQueued] = []
        self.answer: Any = None

    def _offer(self) -> JobOffer:
        self.offers += 1
        return offer(self.offers)

    async def run(self) -> None:
        self.answer = await queueing.offer_and_wait(self._connection, self._offer, self.told.append)


async def offered(connection: Connection) -> JobOffer:
    message = await connection.receive()
    assert isinstance(message, JobOffer)
    return message


@pytest.mark.parametrize("cut", [1, 1 << 20])
async def test_places_are_told_at_once_and_the_job_is_offered_anew(
    nursery: trio.Nursery, autojump_clock: MockClock, cut: int
) -> None:
    ours, theirs = connections(lambda: cut)
    owner, at = Owner(ours), At(3)
    taken: list[JobOffer] = []

    async def volunteer() -> None:
        waiter = at.waiter(theirs)
        taken.append(await waiter.turn(await offered(theirs)))
        at.move(1)
        taken.append(await waiter.turn(taken[-1]))
        await theirs.send(JobAccepted(1, 16))

    nursery.start_soon(owner.run)
    nursery.start_soon(volunteer)
    await wait_all_tasks_blocked()
    now = trio.current_time()
    assert owner.told == [JobQueued(3, BUSY)]
    at.move(2)
    await wait_all_tasks_blocked()
    at.move(2, "paused by its user")
    await wait_all_tasks_blocked()
    assert owner.told[1:] == [JobQueued(2, BUSY), JobQueued(2, "paused by its user")]
    assert owner.answer is None
    at.move(0)
    await wait_all_tasks_blocked()
    # Somebody else had it after all: it is in line again.
    assert owner.told[3:] == [JobQueued(1, BUSY)]
    at.move(0)
    await wait_all_tasks_blocked()
    assert owner.answer == JobAccepted(1, 16)
    assert [one.port for one in taken] == [2, 3]
    assert trio.current_time() == now


async def test_both_hear_of_each_other_for_as_long_as_it_waits(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    ours, theirs = connections()
    owner, at = Owner(ours), At(1)

    async def volunteer() -> None:
        await at.waiter(theirs).turn(await offered(theirs))
        await theirs.send(JobAccepted(1, 16))

    nursery.start_soon(owner.run)
    nursery.start_soon(volunteer)
    await trio.sleep(HOUR_S / 6)
    assert len(owner.told) >= HOUR_S / 6 / queueing.HEARTBEAT_INTERVAL_S - 2
    at.move(0)
    await wait_all_tasks_blocked()
    assert owner.answer == JobAccepted(1, 16)


async def test_a_volunteer_that_takes_it_at_once_or_refuses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for said in (JobAccepted(2, 16), work.JobRefused("no"), work.CapacityIs()):
        ours, theirs = connections()
        owner = Owner(ours)
        nursery.start_soon(owner.run)
        await offered(theirs)
        await theirs.send(said)
        await wait_all_tasks_blocked()
        assert owner.answer == said
        assert owner.told == []


async def test_who_did_not_say_that_it_waits_is_not_kept_waiting(autojump_clock: MockClock) -> None:
    ours, theirs = connections()
    await theirs.send(JobQueued(1, BUSY))
    told: list[JobQueued] = []
    assert await queueing.offer_and_wait(ours, lambda: offer(waits=False), told.append) == JobQueued(1, BUSY)
    assert told == []


# Owners that do not keep to it.


async def in_line(connection: Connection, at: At) -> PeerError:
    """Has an owner wait that never gets further; how that ends."""
    with pytest.raises(PeerError) as raised:
        await at.waiter(connection).turn(offer())
    return raised.value


@pytest.mark.parametrize("place", [1, 0])
async def test_an_owner_that_is_silent_loses_its_place(autojump_clock: MockClock, place: int) -> None:
    _, theirs = connections()
    began = trio.current_time()
    assert isinstance(await in_line(theirs, At(place)), PeerGone)
    assert trio.current_time() - began == TURN_TIMEOUT_S


async def test_an_owner_that_does_not_take_its_turn_loses_its_place(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    ours, theirs = connections()

    async def beat() -> None:
        await ours.send(work.Heartbeat())
        await trio.sleep(queueing.HEARTBEAT_INTERVAL_S)

    nursery.start_soon(endlessly, beat)
    at = At(1)
    with trio.move_on_after(HOUR_S / 6):
        await at.waiter(theirs).turn(offer())
        pytest.fail("it is not its turn")
    began = trio.current_time()
    at.move(0)
    assert isinstance(await in_line(theirs, at), PeerGone)
    assert trio.current_time() - began == TURN_TIMEOUT_S
    nursery.cancel_scope.cancel()


async def test_an_owner_that_is_gone_loses_its_place_at_once(autojump_clock: MockClock) -> None:
    for said in ([], [work.JobEnd(JOB)]):
        ours, theirs = connections()
        await ours.send(*said)
        if not said:
            ours.close()
        began = trio.current_time()
        assert isinstance(await in_line(theirs, At(1)), PeerGone)
        assert trio.current_time() == began


async def test_words_out_of_place_cost_the_place(autojump_clock: MockClock) -> None:
    for place, said in (
        (1, offer()),
        (1, work.Units(())),
        (1, JobAccepted(1, 1)),
        (0, offer(job=b"k" * 32)),
        (0, work.Slots(1)),
    ):
        ours, theirs = connections()
        await ours.send(said)
        assert isinstance(await in_line(theirs, At(place)), ProtocolViolation), said


# Floods.


MANY = 8000
SLOWED_S = (MANY - pace.BURST) / pace.UNITS_PER_S


async def test_a_flood_of_heartbeats_is_slowed(autojump_clock: MockClock) -> None:
    ours, theirs = connections()
    await ours.send(*[work.Heartbeat()] * MANY, work.Slots(1))
    began = trio.current_time()
    assert isinstance(await in_line(theirs, At(1)), ProtocolViolation)
    assert trio.current_time() - began >= SLOWED_S


async def test_a_flood_of_places_is_slowed(autojump_clock: MockClock) -> None:
    ours, theirs = connections()
    await theirs.send(*[JobQueued(1)] * MANY, work.JobRefused("no"))
    owner, began = Owner(ours), trio.current_time()
    await owner.run()
    assert owner.answer == work.JobRefused("no")
    assert trio.current_time() - began >= SLOWED_S


async def test_a_volunteer_that_calls_and_never_takes_is_left(autojump_clock: MockClock) -> None:
    ours, theirs = connections()
    for _ in range(100):
        await theirs.send(JobQueued(1), JobQueued(0))
    owner = Owner(ours)
    with pytest.raises(ProtocolViolation):
        await owner.run()
    assert owner.offers == 1 + queueing.MAX_CALLS


async def test_a_volunteer_that_has_it_wait_and_says_nothing_more_is_left(autojump_clock: MockClock) -> None:
    ours, theirs = connections()
    await theirs.send(JobQueued(1))
    owner, began = Owner(ours), trio.current_time()
    with pytest.raises(PeerGone):
        await owner.run()
    assert trio.current_time() - began == queueing.ANSWER_TIMEOUT_S
