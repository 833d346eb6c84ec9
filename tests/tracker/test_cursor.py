"""Cursors come back as they were given out, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import MalformedMessage
from tracker.cursor import MAX_CURSOR_CHARS, seal, unseal


@given(st.text(max_size=50), st.integers(0, 2**63 - 1), st.floats(allow_nan=False))
def test_a_cursor_is_what_was_sealed(question: str, at: int, order: float) -> None:
    cursor = seal(question, at, order)
    assert len(cursor) <= MAX_CURSOR_CHARS
    assert cursor.isascii()
    assert unseal(question, cursor) == (at, order)


@given(st.text(max_size=80))
def test_what_somebody_made_up_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        unseal("question", text)


@given(st.integers(0, 39), st.characters(codec="ascii"))
def test_a_changed_cursor_is_refused(at: int, letter: str) -> None:
    cursor = seal("question", 7, 1.0)
    at %= len(cursor)
    changed = cursor[:at] + letter + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(MalformedMessage):
            unseal("question", changed)


def test_a_cursor_of_another_question_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        unseal("another", seal("question", 7))


def test_no_number_is_no_place() -> None:
    with pytest.raises(MalformedMessage):
        unseal("question", seal("question", 7, float("nan")))
    with pytest.raises(MalformedMessage):
        unseal("question", seal("question", 2**63))
