"""What all tests share: constants are set by `shorten`, an error of Shoal's own fails the test in which it shows, and
hypothesis draws the same examples in every run, few enough to be quick."""

import signal
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from p2p.concurrency import walls
from tests.support.constants import shorten as shorten

settings.register_profile(
    "shoal",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=80,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("few", settings.get_profile("shoal"), max_examples=20)
settings.load_profile("shoal")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control lets what it starts with `&` ignore Ctrl-C, and so would every program of a test.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def expects_bugs() -> Iterator[Callable[[int], None]]:
    """Fails a test in which a wall stopped a bug, unless the test has said how many there will be."""
    before, expected = walls.bugs.count, 0

    def expect(count: int) -> None:
        nonlocal expected
        expected += count

    yield expect
    assert walls.bugs.count - before == expected, "the log has the errors of Shoal's own"
