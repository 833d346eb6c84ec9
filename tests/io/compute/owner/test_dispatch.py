"""What is sent with units: in which messages and in what order, and what becomes of units whose inputs are lost."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.compute.execution.unit import MAX_BATCH_BYTES, action_key
from p2p.compute.owner.dispatch import Dispatch, JobInput
from p2p.compute.owner.outputs import INLINE, Outputs, Remote
from p2p.compute.owner.shuffle import NOWHERE, OutputShuffle
from p2p.core.compute.attempts import Work
from p2p.core.compute.known import Known
from p2p.core.compute.plan import Plan
from p2p.ids import H, PeerId, ShareId
from p2p.store.database import Database
from p2p.store.disk import Disk
from p2p.store.journal import Journal
from p2p.wire import work
from p2p.wire.address import Address
from tests.support.job_model import output_of, peer, plan_of

JOB = H("test job")
RESULTS = [b"the first result", bytes(work.MAX_PIECE_BYTES + 1)]
AWAY = peer("away")


def id_of(stage: int, partition: int) -> bytes:
    return H("test unit", bytes([stage]), partition.to_bytes(4, "big"))


def units_of(stage: int, *partitions: int) -> list[Work]:
    return [Work(id_of(stage, partition), stage, partition) for partition in partitions]


def address_of(holder: PeerId) -> Address | None:
    return None if holder == AWAY else Address("10.1.2.3", 1 + int.from_bytes(holder[:2], "big"))


class Owner:
    """What an owner has of a job whose action it runs."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.outputs = Outputs(journal, Disk(), JOB, folder)
        self.shuffle = OutputShuffle(self.outputs, address_of)
        files = tuple((f"folder/{number}", 10_000) for number in range(3))
        inputs = [JobInput(ShareId(bytes(32)), "input", files, ())]
        self.dispatch = Dispatch(JOB, inputs, self.shuffle, RESULTS, 5000)
        self.lost: list[Work] = []

    def begin(self, plan: Plan) -> None:
        self.dispatch.cut(plan)
        self.shuffle.begin(plan, [stage.partitions or 0 for stage in plan.stages])

    def made(self, partition: int, outputs: list[bytes]) -> None:
        """A unit of the first stage."""
        known = Known(id_of(0, partition), 0, partition, output_of(id_of(0, partition)), None)
        self.outputs.keep(known, outputs)

    def kept(self, partition: int, sizes: Sequence[int], holder: PeerId) -> None:
        """A unit of the first stage, whose outputs somebody keeps."""
        unit, digest = id_of(0, partition), output_of(id_of(0, partition))
        self.outputs.keep(Known(unit, 0, partition, digest, holder), Remote(unit, digest, tuple(sizes), holder))

    async def messages(self, units: Sequence[Work], sent: int = len(RESULTS)) -> list[Any]:
        return await self.dispatch.messages(units, sent, self.lost.append, keep=True)


@pytest.fixture
async def owner(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Owner]:
    database = Database(tmp_path)
    journal = Journal(database)
    journal.begin(JOB, {"name": "a job"})
    made = Owner(journal, tmp_path / "outputs")
    nursery.start_soon(made.outputs.write)
    yield made
    await made.outputs.settle()
    nursery.cancel_scope.cancel()
    database.close()


def told(messages: Sequence[Any]) -> dict[bytes, tuple[work.Unit, bytes]]:
    """Units by id, in their order, each with the bytes that had come for it when it came."""
    came: dict[bytes, bytes] = {}
    found = {}
    for message in messages:
        match message:
            case work.Bytes():
                assert message.offset == len(came.get(message.of, b""))
                came[message.of] = came.get(message.of, b"") + message.body
            case work.Units(units):
                assert 0 < len(units) <= work.MAX_UNITS
                found.update({unit.id: (unit, came.pop(unit.id, b"")) for unit in units})
    assert not any(unit in came for unit in found), "bytes of a unit came after it"
    return found


async def test_units_travel_together_as_far_as_bounds_allow(owner: Owner) -> None:
    count = 2 * work.MAX_UNITS + 5
    owner.begin(plan_of((count, (), 0)))
    units = units_of(0, *range(count))
    messages = await owner.messages(units)
    assert list(told(messages)) == [one.unit for one in units]
    assert [len(message.units) for message in messages] == [work.MAX_UNITS, work.MAX_UNITS, 5]


async def test_results_of_actions_come_first_and_each_once(owner: Owner) -> None:
    owner.begin(plan_of((1, (), 0)))
    for sent in range(len(RESULTS) + 1):
        *before, last = await owner.messages(units_of(0, 0), sent)
        assert isinstance(last, work.Units)
        for number, result in enumerate(RESULTS[sent:], sent):
            pieces = [piece for piece in before if piece.of == action_key(JOB, number)]
            assert b"".join(piece.body for piece in pieces) == result
            before = before[len(pieces) :]
        assert before == []


async def test_what_a_unit_reads_comes_with_it_or_before_it(owner: Owner) -> None:
    many = 60
    sizes = [0, 100, 30_000, INLINE - 30_000, INLINE, work.MAX_PIECE_BYTES + 1]
    owner.begin(plan_of((2, (), many), (many, (0,), 0)))
    outputs = [[bytes([part]) * sizes[(n + part) % len(sizes)] for n in range(many)] for part in range(2)]
    for part in range(2):
        owner.made(part, outputs[part])
    units = units_of(1, *range(many))
    messages = await owner.messages(units)
    found = told(messages)
    assert list(found) == [one.unit for one in units]
    for number, (unit, came) in enumerate(found.values()):
        reads = [outputs[part][number] for part in range(2)]
        assert unit.reads == (2,)
        assert unit.sizes == tuple(map(len, reads))
        assert unit.inline + came == b"".join(reads)
        assert not unit.inline or not came
    batches = [message.units for message in messages if isinstance(message, work.Units)]
    assert len(batches) == 2
    assert all(sum(len(unit.inline) for unit in units) <= MAX_BATCH_BYTES for units in batches)


async def test_of_what_is_elsewhere_a_unit_hears_where_it_is(owner: Owner) -> None:
    many = 2 * work.MAX_HOLDERS + 7
    owner.begin(plan_of((many, (), 2), (2, (0,), 0)))
    holders = [AWAY if number == 9 else PeerId(number.to_bytes(2, "big") * 16) for number in range(many)]
    here = {3, 300}
    for number, holder in enumerate(holders):
        if number in here:
            owner.made(number, [b"first", b"second"])
        else:
            owner.kept(number, [number, number + 1], holder)
    messages = await owner.messages(units_of(1, 1))
    assert [type(message) for message in messages] == [work.Reads] * 3 + [work.Units]
    ((unit, _),) = told(messages).values()
    assert unit.sizes == tuple(len(b"second") if number in here else number + 1 for number in range(many))
    assert unit.inline == b"second" * len(here)
    heard = {}
    for message in messages[:-1]:
        assert message.unit == unit.id
        assert len(message.holders) <= work.MAX_HOLDERS
        for kept in message.kept:
            heard[kept.place] = (kept.unit, kept.number, message.holders[kept.holder])
    expected = {}
    for number in set(range(many)) - here:
        address = address_of(holders[number]) or NOWHERE
        expected[number] = (id_of(0, number), 1, work.Holder(holders[number], address.host, address.port))
    assert heard == expected
    assert [remote.unit for remote in owner.shuffle.elsewhere(units_of(1, 1)[0])] == [expected[n][0] for n in expected]


async def test_a_unit_whose_inputs_are_lost_is_told_of_and_the_others_go(owner: Owner) -> None:
    owner.begin(plan_of((1, (), 3), (1, (), 3), (3, (0,), 3), (3, (1, 2), 0)))
    owner.made(0, [b"a", b"b", b"c"])
    units = [*units_of(2, 0), *units_of(3, 1), *units_of(2, 2)]
    found = told(await owner.messages(units))
    assert owner.lost == [units[1]]
    assert list(found) == [units[0].unit, units[2].unit]


async def test_results_of_actions_wait_for_a_unit_to_go_with(owner: Owner) -> None:
    """Only units say how many have been sent: without any they would come twice."""
    owner.begin(plan_of((1, (), 2), (1, (), 2), (2, (0, 1), 0)))
    owner.made(0, [b"here", b"too"])
    assert await owner.messages(units_of(2, 0, 1), 0) == []
    assert owner.lost == units_of(2, 0, 1)


async def test_what_is_brought_here_is_waited_for(owner: Owner, nursery: trio.Nursery) -> None:
    owner.begin(plan_of((1, (), 1), (1, (0,), 0)))
    owner.kept(0, [4], AWAY)
    found: list[Any] = []

    async def ask() -> None:
        found.extend(await owner.messages(units_of(1, 0)))

    with owner.shuffle.pulling(0, 0) as mine, owner.shuffle.pulling(0, 0) as another:
        assert (mine, another) == (True, False)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert not found
        owner.made(0, [b"here"])
    await owner.shuffle.pulled(0, 0)
    await wait_all_tasks_blocked()
    ((unit, _),) = told(found).values()
    assert unit.inline == b"here"


@pytest.mark.parametrize("another", [False, True])
async def test_nothing_is_said_of_an_action_that_ends_meanwhile(
    owner: Owner, nursery: trio.Nursery, another: bool
) -> None:
    """Whatever the next one is like."""
    owner.begin(plan_of((1, (), 1), (1, (), 1), (1, (0, 1), 0)))
    owner.made(0, [b"here"])
    said: list[list[Any]] = []

    async def ask() -> None:
        said.append(await owner.messages([*units_of(2, 0), *units_of(2, 0)], 0))

    with owner.shuffle.pulling(1, 0):
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        owner.dispatch.end()
        owner.shuffle.end()
        assert owner.shuffle.elsewhere(units_of(2, 0)[0]) == []
        if another:
            owner.begin(plan_of((1, (), 0), action=1))
    await wait_all_tasks_blocked()
    assert said == [[]]
    assert owner.lost == []
