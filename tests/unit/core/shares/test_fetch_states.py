"""The states of a fetch, move by move."""

from typing import get_args

import pytest

from p2p.core.shares.fetch_states import OPEN, UNDER_WAY, Move, State, after, why_not

LEGAL = {
    ("waiting", "start", "running"),
    ("waiting", "pause", "paused"),
    ("running", "finish", "done"),
    ("running", "fail", "failed"),
    ("running", "pause", "paused"),
    ("running", "stop", "waiting"),
    ("paused", "resume", "waiting"),
    ("paused", "finish", "done"),
    ("failed", "resume", "waiting"),
}


def test_there_are_these_moves_and_no_others() -> None:
    found = {(state, move, after(state, move)) for state in get_args(State) for move in get_args(Move)}
    assert {one for one in found if one[2] is not None} == LEGAL


def test_what_is_done_stays_so() -> None:
    assert {"done"} == set(get_args(State)) - OPEN
    assert UNDER_WAY < OPEN
    assert not any(after("done", move) for move in get_args(Move))


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("waiting", "is under way already"),
        ("running", "is under way already"),
        ("paused", "is paused already"),
        ("failed", "has failed already"),
        ("done", "is done already"),
    ],
)
def test_what_cannot_be_is_said(state: State, why: str) -> None:
    assert why_not(state) == why
