"""The life of an allocation: which moves are legal, and what the passing of time ends."""

import pytest

from p2p.core.cluster.allocations import NOTICE_S, OFFER_S, SILENCE_S, Allocation, State


def until(state: State, now: float = 0.0, seconds: float = 0) -> Allocation:
    allocation = Allocation(now, seconds)
    for following in (State.OFFERED, State.PREPARING, State.READY):
        if allocation.state is state:
            break
        allocation.move(following, now)
    return allocation


def test_it_goes_from_asked_to_ready_and_no_other_way() -> None:
    assert until(State.READY).state is State.READY
    for state, illegal in (
        (State.ASKED, State.READY),
        (State.OFFERED, State.READY),
        (State.READY, State.OFFERED),
        (State.READY, State.ENDED),
    ):
        with pytest.raises(ValueError, match="cannot become"):
            until(state).move(illegal, 0.0)


def test_an_ended_one_stays_ended_and_tells_the_first_reason() -> None:
    allocation = until(State.READY)
    allocation.end("the first")
    allocation.end("the second")
    assert allocation.is_over
    assert allocation.reason == "the first"
    with pytest.raises(ValueError, match="ended"):
        allocation.move(State.READY, 0.0)


def test_an_offer_that_nobody_takes_frees_its_room() -> None:
    allocation = until(State.OFFERED)
    allocation.heard(OFFER_S)
    assert not allocation.due(OFFER_S)
    assert allocation.due(OFFER_S + 1)
    assert "not taken" in allocation.reason


@pytest.mark.parametrize("state", [State.PREPARING, State.READY, State.LEAVING])
def test_silence_ends_it_and_a_word_keeps_it(state: State) -> None:
    allocation = until(state)
    if state is State.LEAVING:
        allocation.leave("mine again", 0.0, 1000)
    allocation.heard(10.0)
    assert not allocation.due(10.0 + SILENCE_S)
    assert allocation.due(10.1 + SILENCE_S)
    assert allocation.reason == "mine again" or "silent" in allocation.reason


def test_a_time_that_was_agreed_on_ends_it_counted_from_the_grant() -> None:
    allocation = Allocation(0.0, 60)
    allocation.move(State.OFFERED, 0.0)
    allocation.move(State.PREPARING, 20.0)
    allocation.move(State.READY, 30.0)
    allocation.heard(79.0)
    assert not allocation.due(79.0)
    assert allocation.due(80.0)
    assert "time is over" in allocation.reason


def test_who_leaves_does_so_after_the_notice_and_at_once_where_nothing_runs() -> None:
    waiting = until(State.OFFERED)
    waiting.leave("its user wants the machine", 0.0)
    assert waiting.is_over
    running = until(State.READY)
    running.leave("its user wants the machine", 0.0)
    running.leave("again", 5.0)
    running.heard(NOTICE_S)
    assert not running.due(NOTICE_S - 0.1)
    assert running.due(float(NOTICE_S))
    assert running.reason == "its user wants the machine"


def test_a_notice_can_be_taken_back() -> None:
    allocation = until(State.READY)
    allocation.leave("mine", 0.0)
    allocation.stay(10.0)
    allocation.heard(NOTICE_S + 5.0)
    assert not allocation.due(NOTICE_S + 5.0)
    assert allocation.state is State.READY
