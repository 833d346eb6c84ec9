"""Rate limits and upload slots under the virtual clock: who waits, for how long, and what they are told."""

import pytest
import trio
from trio.testing import MockClock

from p2p.concurrency.throttle import Throttle
from p2p.sharing.upload_slots import POSITION_INTERVAL_S, Slot, UploadSlots


async def test_no_limit_never_waits() -> None:
    throttle = Throttle(0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await throttle.spend(10**12)  # no checkpoint, so the cancellation is not met
    assert not scope.cancelled_caught


async def test_the_mean_rate_is_kept(autojump_clock: MockClock) -> None:
    throttle = Throttle(1_000_000)
    started = trio.current_time()
    for _ in range(1000):
        await throttle.spend(10_000)
    assert 9.8 <= trio.current_time() - started <= 10.0


async def test_all_spenders_share_one_limit(autojump_clock: MockClock) -> None:
    throttle = Throttle(1_000_000)
    ended: dict[str, float] = {}

    async def spend(name: str, times: int) -> None:
        for _ in range(times):
            await throttle.spend(100_000)
        ended[name] = trio.current_time()

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spend, "one", 50)
        nursery.start_soon(spend, "other", 50)
    assert ended["one"] - started == pytest.approx(10, abs=0.5)
    assert ended["other"] - started == pytest.approx(10, abs=0.5)


async def test_a_pause_earns_no_more_than_a_short_burst(autojump_clock: MockClock) -> None:
    throttle = Throttle(1_000_000)
    await trio.sleep(1000)
    started = trio.current_time()
    for _ in range(20):
        await throttle.spend(100_000)
    assert trio.current_time() - started == pytest.approx(1.9, abs=0.05)


async def test_a_piece_larger_than_the_burst_passes_and_is_paid_for(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000)
    started = trio.current_time()
    await throttle.spend(256 * 1024)
    assert trio.current_time() - started == pytest.approx((256 - 64) * 1024 / 1000)


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

    async def _tell(self, position: int) -> None:
        self.told.append(position)

    async def run(self, order: list[str]) -> None:
        async with self._slots.hold(self._prefix, self._identity, self._tell) as slot:
            self.slot = slot
            order.append(self.name)
            await self.release.wait()
            self.slot = None


async def started(nursery: trio.Nursery, order: list[str], *holders: Holder) -> None:
    for holder in holders:
        nursery.start_soon(holder.run, order)
        await trio.testing.wait_all_tasks_blocked()


async def test_who_finds_a_slot_is_told_nothing(nursery: trio.Nursery) -> None:
    slots = UploadSlots(2, 10)
    order: list[str] = []
    one, other = Holder(slots, "one"), Holder(slots, "other")
    await started(nursery, order, one, other)
    assert order == ["one", "other"]
    assert one.told == other.told == []
    nursery.cancel_scope.cancel()


async def test_who_waits_is_told_its_place_now_and_then_and_its_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    slots = UploadSlots(1, 10)
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
    slots = UploadSlots(1, 10)
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
    slots = UploadSlots(1, 10)
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
    slots = UploadSlots(1, 10)
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
    slots = UploadSlots(1, 10)
    order: list[str] = []
    one, other = Holder(slots, "one"), Holder(slots, "other")
    await started(nursery, order, one)

    async def broken(position: int) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        async with slots.hold("192.0.2.0/24", b"broken", broken):
            pass
    await started(nursery, order, other)
    assert other.told == [1]
    one.release.set()
    await trio.testing.wait_all_tasks_blocked()
    assert order == ["one", "other"]
    nursery.cancel_scope.cancel()
