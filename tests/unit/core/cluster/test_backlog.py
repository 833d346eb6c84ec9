"""How much waits in the system, at the rates of different lines."""

import pytest

from p2p.core.cluster.backlog import HORIZON_S, LEAST_BYTES, MOST_BYTES, PERIOD_S, Backlog


def after(backlog: Backlog, rate: float, seconds: float, start: float = 0.0) -> int:
    """The bound after so many seconds at this rate, in bytes per second, with more waiting all the time."""
    steps = int(seconds / 0.01)
    for step in range(steps + 1):
        backlog.sent(int(rate * 0.01), start + step * 0.01)
    return backlog.bytes


@pytest.mark.parametrize(
    ("rate", "bound"),
    [(500e6, MOST_BYTES), (6.25e6, MOST_BYTES), (2e6, 2e6 * HORIZON_S), (0.75e6, LEAST_BYTES), (1e4, LEAST_BYTES)],
)
def test_what_waits_goes_out_in_a_moment(rate: float, bound: float) -> None:
    assert after(Backlog(), rate, 1.0) == pytest.approx(bound, rel=0.05)


def test_a_line_that_gets_faster_is_used() -> None:
    backlog = Backlog()
    assert after(backlog, 0.5e6, 1.0) == LEAST_BYTES
    assert after(backlog, 100e6, 1.0, 2.0) == MOST_BYTES


def test_a_line_that_is_seldom_used_is_not_taken_for_a_slow_one() -> None:
    backlog = Backlog()
    for second in range(10):
        assert not backlog.sent(1000, float(second))
        assert not backlog.sent(1000, second + PERIOD_S / 2)
        backlog.idle()
    assert backlog.bytes == MOST_BYTES
