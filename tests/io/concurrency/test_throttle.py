"""Rate limits under the virtual clock: who waits, and for how long."""

import pytest
import trio
from trio.testing import MockClock

from p2p.concurrency.throttle import Throttle


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
    assert trio.current_time() - started == pytest.approx((256 * 1024 - 1000) / 1000)


async def test_whoever_gives_up_leaves_no_debt(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000)
    await throttle.spend(1000)
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(throttle.spend, 10_000)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    await throttle.spend(1000)
    assert trio.current_time() - started == pytest.approx(1)


async def test_what_is_given_back_may_be_spent_by_others(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000)
    await throttle.spend(1000)
    throttle.give_back(1000)
    throttle.give_back(10**9)  # a burst is all that is ever saved up
    started = trio.current_time()
    await throttle.spend(1000)
    assert trio.current_time() == started
    await throttle.spend(1000)
    assert trio.current_time() - started == pytest.approx(1)


async def test_a_limit_is_idle_until_it_is_used(autojump_clock: MockClock) -> None:
    assert not Throttle(0).idle
    throttle = Throttle(1000)
    assert throttle.idle
    await throttle.spend(1000)
    assert not throttle.idle
    await trio.sleep(0.6)
    assert throttle.idle


@pytest.mark.parametrize(
    ("rate", "piece"), [(0, 256 << 10), (1, 1024), (3 << 10, 1536), (16 << 10, 8 << 10), (100 << 20, 256 << 10)]
)
async def test_pieces_are_small_under_a_small_limit(rate: int, piece: int) -> None:
    assert Throttle(rate).piece_bytes == piece


async def test_a_limit_changes_while_it_is_used(autojump_clock: trio.testing.MockClock) -> None:
    throttle = Throttle(1000)
    await throttle.spend(1000)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(throttle.spend, 1000)
        await trio.sleep(0.5)
        throttle.change(0)
    assert trio.current_time() - began <= 2, "but for the first in line, nobody waits"
    throttle.change(100)
    await throttle.spend(100)
    began = trio.current_time()
    await throttle.spend(1000)
    assert trio.current_time() - began >= 9
