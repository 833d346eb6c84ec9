"""Back-off after failures."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.backoff import FIRST_RETRY_S, LAST_RETRY_S, Backoff


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
    assert FIRST_RETRY_S <= backoff.failed(chance) <= LAST_RETRY_S * 1.5
