"""Ids as text, and the hash of structured fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import ids

some_ids = st.binary(min_size=32, max_size=32)
fields = st.lists(st.binary(max_size=8), max_size=4)


@given(some_ids)
def test_text_and_back(value: bytes) -> None:
    text = ids.to_text(value)
    assert len(text) == 52
    assert text == text.lower()
    assert ids.from_text(text) == value
    assert ids.from_text(text.upper()) == value
    assert text.startswith(ids.short(value))
    assert len(ids.short(value)) == 8
    assert text.startswith(ids.compared(value))
    assert len(ids.compared(value)) == 16, "a look-alike of half as many letters costs a day"


@given(st.text(max_size=60) | st.text("abcdefghijklmnopqrstuvwxyz234567=", min_size=50, max_size=54))
def test_other_text_is_refused(text: str) -> None:
    try:
        value = ids.from_text(text)
    except ValueError:
        return
    assert ids.to_text(value) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 51,
        "a" * 53,
        "a" * 51 + "b",  # bits behind the 256th
        "1" * 52,
        "a" * 48 + "====",
        "a" * 50 + "==",
        " " + "a" * 51,
        "é" + "a" * 51,
        "\u017f" + "a" * 51,  # upper() makes an S of it
    ],
)
def test_nearly_an_id(text: str) -> None:
    with pytest.raises(ValueError, match="id"):
        ids.from_text(text)


@given(st.text(max_size=8), fields, st.text(max_size=8), fields)
def test_hash_differs_with_purpose_and_fields(one: str, ones: list[bytes], two: str, twos: list[bytes]) -> None:
    assert (ids.H(one, *ones) == ids.H(two, *twos)) == ((one, ones) == (two, twos))


@given(fields, st.integers(0, 8))
def test_hash_knows_where_fields_end(parts: list[bytes], at: int) -> None:
    joined = b"".join(parts)
    if parts != [joined[:at], joined[at:]]:
        assert ids.H("x", joined[:at], joined[at:]) != ids.H("x", *parts)


def test_hash_is_pinned() -> None:
    """Ids made by one version are those of the next."""
    assert ids.H("file", b"ab", b"c").hex() == PINNED
    assert ids.H("file", b"a", b"bc").hex() != PINNED


PINNED = "3516218a297db9c5aaf327887fe106eadcd054f1c6331988b10eb437dfba0fa6"
