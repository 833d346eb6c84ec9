"""Bans after proven faults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core import bans
from p2p.core.bans import Bans


def test_the_first_strike_is_forgiven_the_second_bans_and_bans_double() -> None:
    standings: Bans[str] = Bans()
    assert standings.strike("eve", 0) < 0
    assert standings.strike("eve", 10) == 10 + 600
    assert standings.banned_until("eve") == 610
    assert standings.strike("eve", 700) == 700 + 1200
    assert standings.strike("eve", 2000) == 2000 + 2400
    assert standings.banned_until("alice") < 0


def test_old_strikes_are_forgotten() -> None:
    standings: Bans[str] = Bans()
    standings.strike("eve", 0)
    assert standings.strike("eve", bans.MEMORY_S + 1) < 0
    assert standings.strike("eve", bans.MEMORY_S + 2) == bans.MEMORY_S + 602


@given(st.integers(2, 200))
def test_bans_are_bounded(strikes: int) -> None:
    standings: Bans[str] = Bans()
    until = max(standings.strike("eve", 0) for _ in range(strikes))
    assert until <= 600 * 2**8


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    standings: Bans[int] = Bans()
    for peer in (1, 2):
        standings.strike(peer, 0)
        standings.strike(peer, 0)
    standings.strike(1, 0)  # recent again
    for peer in range(10, 10 + bans.MAX_REMEMBERED - 1):
        standings.strike(peer, 1)
    assert standings.banned_until(1) > 0
    assert standings.banned_until(2) == pytest.approx(float("-inf"))
