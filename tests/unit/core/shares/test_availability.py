"""How many sources hold each chunk, against a Counter."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.shares import bitmap
from p2p.core.shares.availability import Availability

maps = st.integers(0, 2**24 - 1)


@given(st.lists(maps, max_size=12), st.data())
def test_counts_and_the_rarest(held: list[int], data: st.DataObject) -> None:
    availability = Availability()
    oracle: Counter[int] = Counter()
    for chunks in held:
        availability.add(chunks)
        oracle.update(bitmap.members(chunks))
    for chunks in data.draw(st.permutations(held))[: data.draw(st.integers(0, len(held)))]:
        part = chunks & data.draw(maps)  # a source may lose a part of what it has, and go with the rest
        availability.remove(part)
        availability.remove(chunks & ~part)
        oracle.subtract(bitmap.members(chunks))
    assert [availability.count(chunk) for chunk in range(25)] == [oracle[chunk] for chunk in range(25)]
    among = data.draw(maps)
    least = min((oracle[chunk] for chunk in bitmap.members(among)), default=0)
    expected = [chunk for chunk in bitmap.members(among) if oracle[chunk] == least]
    assert list(bitmap.members(availability.rarest(among))) == expected


def test_nothing_is_taken_away_twice() -> None:
    availability = Availability()
    availability.add(0b11)
    availability.remove(0b01)
    with pytest.raises(AssertionError):
        availability.remove(0b01)
