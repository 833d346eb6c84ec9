"""Upload slots under the virtual clock: who waits, for how long, and what they are told."""

import pytest
import trio
from trio.testing import MockClock

from p2p.concurrency.throttle import Throttle
from p2p.core.shares import slots as slots_module
from p2p.core.shares.slots import MAX_QUANTA
from p2p.sharing.upload_slots import MIN_SLOT_BYTES_PER_S, POSITION_INTERVAL_S, SLOT_BYTES_PER_S, Slot, UploadSlots
from p2p.wire.frames import MAX_DATA_BYTES
from tests.support.constants import Shorten


class Holder:
    """Somebody who wants a slot. `told` are the positions it heard, `order` is who had a slot when."""

    def __init__(self, slots: UploadSlots, name: str, prefix: str = "192.0.2.0/24", identity: bytes = b"") -> None:
        self._slots = slots
        self.name = name
        self._prefix = prefix
        self._identity = identity or name.encode()
        self.told: list[int] = []
        self.slot: Slot | None = None
        self.release = trio.Event()
        self.ended = False

    def _end(self) -> None:
        self.ended = True
        self.release.set()

    async def _tell(self, position: int) -> None:
        self.told.append(position)

    async def run(self, order: list[str]) -> None:
        async with self._slots.hold(self._prefix, self._identity, self._tell, self._end) as slot:
            self.slot = slot
            order.append(self.name)
            await self.release.wait()
            self.slot = None


async def started(nursery: trio.Nursery, order: list[str], *holders: Holder) -> None:
    for holder in holders:
        nursery.start_soon(holder.run, order)
        await trio.testing.wait_all_tasks_blocked()


async def test_who_finds_a_slot_is_told_nothing(nursery: trio.Nursery) -> None:
    slots = UploadSlots(2, 10, Throttle(0))
    order: list[str] = []
    one, other = Holder(slots, "one"), Holder(slots, "other")
    await started(nursery, order, one, other)
    assert order == ["one", "other"]
    assert one.told == other.told == []
    nursery.cancel_scope.cancel()


async def test_who_waits_is_told_its_place_now_and_then_and_its_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    slots = UploadSlots(1, 10, Throttle(0))
    order: list[str] = []
    one, two, three = (Holder(slots, name) for name in ("one", "two", "three"))
    nursery.start_soon(one.run, order)
    await trio.sleep(0.1)
    nursery.start_soon(two.run, order)
    await trio.sleep(0.1)
    nursery.start_soon(three.run, order)
    await trio.sleep(POSITION_INTERVAL_S + 1)
    assert (two.told, three.told) == ([1, 1], [2, 2])
    one.release.set()
    await trio.sleep(POSITION_INTERVAL_S + 1)
    assert (two.told[-1], three.told[-1]) == (0, 1)
    two.release.set()
    await trio.sleep(0.1)
    assert three.told[-1] == 0
    assert order == ["one", "two", "three"]
    nursery.cancel_scope.cancel()


async def test_a_slot_is_given_up_after_its_time_only_if_somebody_waits(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    slots = UploadSlots(1, 10, Throttle(0))
    order: list[str] = []
    one, other = Holder(slots, "one"), Holder(slots, "other")
    nursery.start_soon(one.run, order)
    await trio.sleep(60)
    assert one.slot is not None
    assert not one.slot.must_yield()
    nursery.start_soon(other.run, order)
    await trio.sleep(0.1)
    assert one.slot.must_yield()
    one.release.set()
    await trio.sleep(9)
    nursery.start_soon(Holder(slots, "third").run, order)
    await trio.sleep(0.5)
    assert other.slot is not None
    assert not other.slot.must_yield()
    await trio.sleep(1)
    assert other.slot.must_yield()
    nursery.cancel_scope.cancel()


async def test_neither_many_addresses_nor_many_connections_get_more_than_their_turn(nursery: trio.Nursery) -> None:
    slots = UploadSlots(1, 10, Throttle(0))
    order: list[str] = []
    first = Holder(slots, "first")
    # One network with many identities, one identity with many connections, and one plain peer, last of all.
    crowd = [Holder(slots, f"crowd{n}", "198.51.100.0/24") for n in range(4)]
    greedy = [Holder(slots, f"greedy{n}", "203.0.113.0/24", b"greedy") for n in range(4)]
    plain = Holder(slots, "plain", "192.0.2.0/24")
    await started(nursery, order, first, *crowd, *greedy, plain)
    for holder in (first, *crowd, *greedy, plain):
        holder.release.set()
    await trio.testing.wait_all_tasks_blocked()
    assert order[1:4] == ["crowd0", "greedy0", "plain"]
    assert sorted(order[4:]) == sorted(holder.name for holder in (*crowd[1:], *greedy[1:]))


async def test_who_is_cancelled_while_waiting_or_holding_leaves_no_gap(nursery: trio.Nursery) -> None:
    slots = UploadSlots(1, 10, Throttle(0))
    order: list[str] = []
    holding, waiting, last = (Holder(slots, name) for name in ("holding", "waiting", "last"))
    async with trio.open_nursery() as first:
        await started(first, order, holding)
        async with trio.open_nursery() as second:
            await started(second, order, waiting)
            await started(nursery, order, last)
            second.cancel_scope.cancel()
        assert order == ["holding"]
        first.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert order == ["holding", "last"]
    nursery.cancel_scope.cancel()


async def test_who_cannot_be_told_its_place_is_forgotten(nursery: trio.Nursery) -> None:
    slots = UploadSlots(1, 10, Throttle(0))
    order: list[str] = []
    one, other = Holder(slots, "one"), Holder(slots, "other")
    await started(nursery, order, one)

    async def broken(position: int) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        async with slots.hold("192.0.2.0/24", b"broken", broken, lambda: None):
            pass
    await started(nursery, order, other)
    assert other.told == [1]
    one.release.set()
    await trio.testing.wait_all_tasks_blocked()
    assert order == ["one", "other"]
    nursery.cancel_scope.cancel()


async def test_a_small_limit_has_few_slots(nursery: trio.Nursery) -> None:
    slots = UploadSlots(16, 10, Throttle(3 * SLOT_BYTES_PER_S))
    order: list[str] = []
    holders = [Holder(slots, str(number)) for number in range(5)]
    await started(nursery, order, *holders)
    assert order == ["0", "1", "2"]
    nursery.cancel_scope.cancel()


async def test_whoever_does_not_use_its_slot_does_not_keep_others_from_the_limit(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A peer that reads nothing holds the only slot: one more is served every few seconds, until the limit is used."""
    limit = Throttle(3 * 1024)
    slots = UploadSlots(16, 10_000, limit)
    order: list[str] = []
    holders = [Holder(slots, str(number)) for number in range(20)]
    await started(nursery, order, *holders)
    assert order == ["0"]
    await trio.sleep(2 * POSITION_INTERVAL_S + 1)
    assert order == ["0", "1", "2"]
    async with trio.open_nursery() as using:

        async def use() -> None:
            while True:
                await limit.spend(1024)

        using.start_soon(use)
        await trio.sleep(100)
        assert order == ["0", "1", "2"]
        using.cancel_scope.cancel()
    await trio.sleep(1000)
    assert len(order) == 3 * 1024 // MIN_SLOT_BYTES_PER_S, "each gets enough not to be dropped for being too slow"
    nursery.cancel_scope.cancel()


async def test_a_slot_is_lost_to_a_network_that_has_none_whatever_its_holder_does(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    slots = UploadSlots(3, 10, Throttle(0))
    order: list[str] = []
    crowd = [Holder(slots, f"crowd{n}", "198.51.100.1") for n in range(5)]
    await started(nursery, order, *crowd)
    honest = Holder(slots, "honest", "192.0.2.1")
    nursery.start_soon(honest.run, order)
    await trio.sleep(2)
    assert honest.slot is not None
    held = [holder for holder in crowd if holder.slot is not None]
    assert len(held) == 3
    assert [holder.slot is not None and holder.slot.must_yield(within_chunk=True) for holder in held].count(True) == 1
    await trio.sleep(1000)
    assert not honest.slot.must_yield(within_chunk=True)
    nursery.cancel_scope.cancel()


async def test_whoever_has_lost_its_slot_keeps_its_memory_until_others_need_it(
    autojump_clock: MockClock, nursery: trio.Nursery, shorten: Shorten
) -> None:
    shorten(slots_module, "MAX_UNREAD", 1)
    slots = UploadSlots(1, 10, Throttle(0))
    order: list[str] = []
    holders = [Holder(slots, f"{number}", f"10.{number}.0.1") for number in range(3)]
    for holder in holders:
        nursery.start_soon(holder.run, order)
        await trio.sleep(10 * MAX_QUANTA + 1)
    assert order == ["0", "1", "2"]
    assert [holder.ended for holder in holders] == [False, True, False]
    reads_on, _, served = (holder.slot for holder in holders)
    assert reads_on is not None
    assert served is not None
    assert len(reads_on.buffer) == len(served.buffer) == MAX_DATA_BYTES
    reads_on.buffer[:5] = b"first"
    served.buffer[:5] = b"third"
    assert bytes(reads_on.buffer[:5]) == b"first"
    nursery.cancel_scope.cancel()
