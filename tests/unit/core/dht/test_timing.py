"""What the DHT learns about time: patience within its bounds, and a clock that only many prefixes can move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.timing import (
    BELIEVED_FROM_S,
    FEWEST_OPINIONS,
    LONGEST_HARD_S,
    LONGEST_SOFT_S,
    MAX_OPINIONS,
    SHORTEST_HARD_S,
    SHORTEST_SOFT_S,
    ClockOffset,
    Patience,
)


def test_without_experience_patience_is_longest() -> None:
    patience = Patience()
    assert (patience.soft, patience.hard) == (LONGEST_SOFT_S, LONGEST_HARD_S)


@given(st.lists(st.floats(0, 1e6)))
def test_patience_stays_within_its_bounds(measured: list[float]) -> None:
    patience = Patience()
    for seconds in measured:
        patience.measured(seconds)
        assert SHORTEST_SOFT_S <= patience.soft <= LONGEST_SOFT_S
        assert SHORTEST_HARD_S <= patience.hard <= LONGEST_HARD_S
        assert patience.hard > patience.soft


def test_patience_follows_the_round_trips() -> None:
    """RFC 6298, section 2: the first measurement, then a quarter and an eighth of the difference."""
    patience = Patience()
    patience.measured(0.04)
    assert patience.soft == pytest.approx(0.04 + 4 * 0.02)
    patience.measured(0.06)
    assert patience.soft == pytest.approx(0.0425 + 4 * (0.02 + (0.02 - 0.02) / 4))
    for _ in range(50):
        patience.measured(0.01)
    assert (patience.soft, patience.hard) == (SHORTEST_SOFT_S, SHORTEST_HARD_S)
    for _ in range(50):
        patience.measured(0.5)
    assert (patience.soft, patience.hard) == (LONGEST_SOFT_S, LONGEST_HARD_S)


def test_a_clock_that_is_wrong_by_hours_is_put_right_by_a_few() -> None:
    clock = ClockOffset()
    for number in range(FEWEST_OPINIONS):
        assert clock.seconds == 0
        clock.heard(f"192.0.{number}.0/24", 7200 + number)
    assert clock.seconds == 7200 + FEWEST_OPINIONS // 2


def test_small_differences_are_left_alone() -> None:
    clock = ClockOffset()
    for number in range(20):
        clock.heard(str(number), BELIEVED_FROM_S - 1)
    assert clock.seconds == 0


@given(
    st.lists(st.floats(-1e9, 1e12), max_size=20),
    st.lists(st.floats(-1, 1), min_size=FEWEST_OPINIONS, max_size=20),
    st.randoms(use_true_random=False),
)
def test_a_minority_of_liars_moves_nothing(lies: list[float], truths: list[float], random: object) -> None:
    lies = lies[: len(truths) - 1]
    said = [(f"liar {number}", lie) for number, lie in enumerate(lies)]
    said += [(f"honest {number}", truth) for number, truth in enumerate(truths)]
    random.shuffle(said)  # type: ignore[attr-defined]
    clock = ClockOffset()
    for prefix, ahead in said:
        clock.heard(prefix, ahead)
    assert clock.seconds == 0


def test_one_prefix_has_one_opinion_however_often_it_speaks() -> None:
    clock = ClockOffset()
    for number in range(FEWEST_OPINIONS):
        clock.heard(str(number), 0)
    for number in range(1000):
        clock.heard("liar", 1e6 + number)
    assert clock.seconds == 0


def test_the_oldest_opinions_are_forgotten() -> None:
    clock = ClockOffset()
    for number in range(MAX_OPINIONS):
        clock.heard(f"then {number}", 7200)
    for number in range(MAX_OPINIONS):
        clock.heard(f"now {number}", 0)
    assert clock.seconds == 0
