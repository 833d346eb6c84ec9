"""Wants, compared with a plain list of chunks: the same order, in bounded memory."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.sharing.wants import MAX_WANTS, TooManyWants, Wants

ranges = st.tuples(st.integers(0, 20), st.integers(1, 8))
steps = st.lists(
    st.tuples(st.just("add"), ranges)
    | st.tuples(st.just("cancel"), ranges)
    | st.tuples(st.just("hurry"), ranges)
    | st.tuples(st.just("serve"), st.just((0, 0)))
    | st.tuples(st.just("put back"), st.tuples(st.integers(0, 20), st.just(1))),
    max_size=30,
)


def all_of(wants: Wants) -> list[int]:
    chunks = []
    while len(wants):
        first, count = wants.front()
        chunks += list(range(first, first + count))
        wants.drop(count)
    return chunks


@given(steps)
def test_chunks_come_in_the_order_in_which_they_were_asked_for(steps: list[tuple[str, tuple[int, int]]]) -> None:
    wants, model = Wants(), list[int]()
    for step, (first, count) in steps:
        match step:
            case "add":
                wants.add(first, count)
                model += range(first, first + count)
            case "cancel":
                wants.cancel(first, count)
                model = [chunk for chunk in model if not first <= chunk < first + count]
            case "hurry":
                wants.hurry(first, count)
                model = sorted(model, key=lambda chunk: not first <= chunk < first + count)
            case "put back":
                wants.put_back(first)
                model.insert(0, first)
            case _ if model:
                assert wants.front()[0] == model.pop(0)
                wants.drop(1)
    assert bool(len(wants)) == bool(model)
    assert all_of(wants) == model


def full() -> Wants:
    wants = Wants()
    for _ in range(MAX_WANTS):
        wants.add(0, 100)
    return wants


def test_there_is_a_bound_on_ranges_and_on_bytes() -> None:
    wants = full()
    wants.put_back(7)  # as an interrupted chunk is
    with pytest.raises(TooManyWants):
        wants.add(0, 100)
    assert wants.bytes_held <= 8 * (MAX_WANTS + 1)
    with pytest.raises(TooManyWants):
        wants.cancel(50, 1)
    with pytest.raises(TooManyWants):
        full().hurry(50, 1)


def test_ranges_that_follow_each_other_take_one_place() -> None:
    wants = Wants()
    for chunk in range(3 * MAX_WANTS):
        wants.add(chunk, 1)
    assert len(wants) == 1


def test_what_was_served_takes_no_memory() -> None:
    wants = full()
    for _ in range(MAX_WANTS - 10):
        wants.drop(100)
    assert len(wants) == 10
    assert wants.bytes_held <= 8 * 1100
    assert all_of(wants) == list(chain.from_iterable([range(100)] * 10))
    assert wants.bytes_held == 0
