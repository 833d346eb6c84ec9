"""What counts as use of a connection, and what does not."""

import pytest

from p2p.net import use
from p2p.net.use import WORKED_BYTES_PER_S, Use
from tests.support.constants import Shorten


def test_what_is_given_counts_once() -> None:
    """A peer that asked for the same small part every 50 seconds kept its place for ever."""
    of = Use()
    for _ in range(3):
        of.gave(("share", 0), 100, 100)
    assert of.bytes == 100
    of.gave(("share", 1), 60, 100)
    of.gave(("share", 1), 60, 100)
    assert of.bytes == 200


def test_what_was_given_is_remembered_up_to_a_bound(shorten: Shorten) -> None:
    shorten(use, "MAX_REMEMBERED", 3)
    of = Use()
    for number in (0, 1, 2, 0, 3, 0, 2):
        of.gave(number, 10, 10)
    assert of.bytes == 40
    of.gave(1, 10, 10)
    assert of.bytes == 50, "the one that was given longest ago is forgotten"


def test_all_work_has_one_measure() -> None:
    of = Use()
    of.got(1000)
    of.worked(2.5)
    assert of.bytes == 1000 + 2.5 * WORKED_BYTES_PER_S
    before = of.bytes
    of.arriving(10_000)
    assert 0 < of.bytes - before < 1


def test_waiting_is_a_round_trip_and_no_work() -> None:
    of = Use()
    for _ in range(5):
        of.heard()
    assert of.round_trips == 0, "it was told nothing that it could answer"
    for _ in range(5):
        of.told_to_wait()
    assert of.round_trips == 0, "it answered nothing"
    for _ in range(3):
        of.heard()
    assert (of.round_trips, of.bytes) == (1, 0)


@pytest.mark.parametrize("sizes", [[30, 30, 30, 30], [100, 100], [1] * 150])
def test_pieces_count_up_to_the_whole(sizes: list[int]) -> None:
    of = Use()
    for size in sizes:
        of.gave("share", size, 100)
    assert of.bytes == 100
