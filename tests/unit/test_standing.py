"""Back-off after failures, and bans after proven faults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core import standing
from p2p.core.standing import Backoff, Standing


def test_back_off_doubles_to_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.failed(0) for _ in range(10)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_being_useful_starts_over() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.failed(0)
    backoff.worked()
    assert backoff.failed(0) == 0.5


@given(st.integers(0, 3000), st.floats(0, 1, exclude_max=True))
def test_back_off_is_bounded(failures: int, chance: float) -> None:
    backoff = Backoff()
    backoff.failures = failures
    assert standing.FIRST_RETRY_S <= backoff.failed(chance) <= standing.LAST_RETRY_S * 1.5


def test_the_first_strike_is_forgiven_the_second_bans_and_bans_double() -> None:
    standings: Standing[str] = Standing()
    assert standings.strike("eve", 0) < 0
    assert standings.strike("eve", 10) == 10 + 600
    assert standings.banned_until("eve") == 610
    assert standings.strike("eve", 700) == 700 + 1200
    assert standings.strike("eve", 2000) == 2000 + 2400
    assert standings.banned_until("alice") < 0


def test_old_strikes_are_forgotten() -> None:
    standings: Standing[str] = Standing()
    standings.strike("eve", 0)
    assert standings.strike("eve", standing.MEMORY_S + 1) < 0
    assert standings.strike("eve", standing.MEMORY_S + 2) == standing.MEMORY_S + 602


@given(st.integers(2, 200))
def test_bans_are_bounded(strikes: int) -> None:
    standings: Standing[str] = Standing()
    until = max(standings.strike("eve", 0) for _ in range(strikes))
    assert until <= 600 * 2**8


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    standings: Standing[int] = Standing()
    for peer in (1, 2):
        standings.strike(peer, 0)
        standings.strike(peer, 0)
    standings.strike(1, 0)  # recent again
    for peer in range(10, 10 + standing.MAX_REMEMBERED - 1):
        standings.strike(peer, 1)
    assert standings.banned_until(1) > 0
    assert standings.banned_until(2) == pytest.approx(float("-inf"))
