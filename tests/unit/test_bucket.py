"""The token bucket: bursts pass, the mean holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.bucket import TokenBucket, TokenBuckets


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    bucket = TokenBucket(rate=10, burst=20, now=100)
    assert bucket.take(20, 100) == 0
    assert bucket.take(5, 100) == pytest.approx(0.5)
    assert bucket.take(0, 100.5) == pytest.approx(0)
    assert bucket.take(10, 101.5) == pytest.approx(0)


def test_time_without_traffic_saves_no_more_than_a_burst() -> None:
    bucket = TokenBucket(rate=10, burst=20, now=0)
    assert bucket.take(30, 1_000_000) == pytest.approx(1)


def test_a_large_piece_passes_whole_and_is_paid_for() -> None:
    bucket = TokenBucket(rate=10, burst=1, now=0)
    assert bucket.take(101, 0) == pytest.approx(10)
    assert bucket.take(10, 10) == pytest.approx(1)


@given(
    st.floats(1, 1e6),
    st.floats(0, 1e6),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e6)), max_size=20),
)
def test_who_waits_as_told_never_exceeds_the_rate(rate: float, burst: float, steps: list[tuple[float, float]]) -> None:
    bucket = TokenBucket(rate, burst, 0)
    now = total = 0.0
    for pause, amount in steps:
        now += pause
        wait = bucket.take(amount, now)
        assert wait >= 0
        now += wait
        total += amount
        assert total <= (burst + rate * now) * (1 + 1e-6) + 1e-3


def test_names_have_buckets_of_their_own_and_the_longest_unseen_are_forgotten() -> None:
    buckets = TokenBuckets(rate=1, burst=1, most=2)
    assert buckets.try_take("a", 1, 0)
    assert not buckets.try_take("a", 1, 0)
    assert buckets.try_take("b", 1, 0)
    assert not buckets.try_take("a", 1, 0)  # seen again, so `b` is the one to be forgotten
    assert buckets.try_take("c", 1, 0)
    assert not buckets.try_take("a", 1, 0)
    assert buckets.try_take("b", 1, 0)
