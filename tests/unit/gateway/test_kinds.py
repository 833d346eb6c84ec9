"""What browsers may show: nothing that could run code, whatever a file is called."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.gateway.kinds import SAVED, SHOWN, disposition, type_of

SAFE = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "audio/", "video/", "text/plain; ")


def test_only_pictures_sound_films_and_plain_text_are_shown() -> None:
    assert all(shown.startswith(SAFE) for shown in SHOWN.values())


@pytest.mark.parametrize(
    "name", ["a.html", "a.svg", "a.xhtml", "a.xml", "a.pdf", "a.js", "a", "png", "a.png.html", "a.txt\n.svg", "a."]
)
def test_all_else_is_saved(name: str) -> None:
    assert type_of(name) == SAVED
    assert disposition(name).startswith("attachment; ")


def test_the_end_of_a_name_counts_in_any_case() -> None:
    assert type_of("a.html.PNG") == "image/png"
    assert disposition("a.PNG") == "inline; filename*=UTF-8''a.PNG"


@given(st.text())
def test_a_header_holds_any_name_and_hides_nothing(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    how, _, said = header.partition("; ")
    assert how in {"inline", "attachment"}
    shown = unquote(said.removeprefix("filename*=UTF-8''"), errors="strict")
    assert not {"\u202e", "\u2066", "\0", "\n", "\u200b"} & set(shown)
