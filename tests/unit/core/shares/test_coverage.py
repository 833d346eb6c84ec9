"""Coverage: 64 bits say which ranges of a share somebody holds, and never promise what is not there."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.shares.coverage import RANGES, coverage
from p2p.wire.records import WHOLE


@given(st.integers(1, 2000))
def test_all_is_whole_and_nothing_is_nothing(chunks: int) -> None:
    assert coverage((1 << chunks) - 1, chunks) == WHOLE
    assert coverage(0, chunks) == bytes(8)


@given(st.data(), st.integers(1, 500))
def test_a_range_is_claimed_exactly_when_all_of_it_is_held(data: st.DataObject, chunks: int) -> None:
    held = data.draw(st.integers(0, (1 << chunks) - 1))
    claimed = int.from_bytes(coverage(held, chunks), "little")
    for number in range(RANGES):
        first, end = number * chunks // RANGES, -(-(number + 1) * chunks // RANGES)
        assert bool(claimed >> number & 1) == all(held >> chunk & 1 for chunk in range(first, end))


def test_less_than_all_is_never_whole() -> None:
    for chunks in (1, 2, 63, 64, 65, 1000):
        assert coverage(((1 << chunks) - 1) ^ 1, chunks) != WHOLE


def test_a_share_without_chunks_is_whole() -> None:
    assert coverage(0, 0) == WHOLE
