"""Putting things together: nothing is lost, bounds hold, and nothing more would have fitted."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.packing import packed


@given(st.lists(st.integers(0, 300)), st.integers(1, 300), st.integers(1, 5))
def test_bounds_hold_and_lists_are_full(sizes: list[int], most_bytes: int, most: int) -> None:
    lists = list(packed(sizes, lambda size: size, most_bytes, most))
    assert [size for some in lists for size in some] == sizes
    for some in lists:
        assert 0 < len(some) <= most
        assert sum(some) <= most_bytes or len(some) == 1
    for some, following in pairwise(lists):
        assert len(some) == most or sum(some) + following[0] > most_bytes
