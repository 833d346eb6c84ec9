"""How late something is that comes now and then."""

from p2p.compute.volunteer.lateness import LEAST_BYTES_PER_S, Lateness


def test_what_comes_fast_enough_is_not_late() -> None:
    """Whole chunks, each of 16 seconds' worth."""
    late = Lateness(0, 0.0)
    found = [late.seconds(second // 16 * 16 * LEAST_BYTES_PER_S, float(second)) for second in range(600)]
    assert max(found) < 16


def test_what_trickles_is_later_and_later() -> None:
    late = Lateness(1000, 100.0)
    found = [late.seconds(1000 + second, 100.0 + second) for second in range(60)]
    assert found == sorted(found)
    assert 58 < found[-1] < 60


def test_what_came_in_a_burst_is_no_credit() -> None:
    """Otherwise ten megabytes would pay for ten minutes in which nothing comes."""
    late = Lateness(0, 0.0)
    assert late.seconds(600 * LEAST_BYTES_PER_S, 1.0) == 0
    assert late.seconds(600 * LEAST_BYTES_PER_S, 31.0) == 30
    assert late.seconds(610 * LEAST_BYTES_PER_S, 31.0) == 20
