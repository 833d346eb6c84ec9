# ruff: noqa: RUF001 - letters that look like others are what this is about
"""Words: the same for whoever publishes a name and whoever looks for it, however it is written."""

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.wire.keywords import (
    COMMON,
    MAX_WORD_CHARS,
    MIN_WORD_CHARS,
    matches,
    most_telling,
    telling,
    wanted,
    words,
)

OF_OLD = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cn"])
"""Characters that every Python knows, and so normalizes in the same way."""


def test_case_accents_and_what_stands_between_do_not_count() -> None:
    assert words("Émile_Zola - GERMINAL (1885).epub") == ["emile", "zola", "germinal", "1885", "epub"]
    assert words("STRASSE straße") == ["strasse"]
    assert words("a an the of") == ["the"]
    assert words("\uff26\uff35\uff2c\uff2c width \ufb01ne") == ["full", "width", "fine"]
    assert words("00\U0001d468") == ["00a"]
    assert words("show.s01e02:part,two") == ["show", "s01e02", "part", "two"]
    assert words("") == words("- -- _._") == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("फोटो तथ्य", ["फोटो", "तथ्य"]),  # vowel signs and viramas are parts of words
        ("বাংলা গান", ["বাংলা", "গান"]),
        ("தமிழ் பாடல்", ["தமிழ்", "பாடல்"]),
        ("Łódź Smørrebrød Đà_Nẵng ığdır Þórr", ["lodz", "smorrebrod", "da", "nang", "igdir", "thorr"]),
        ("ЁЛКА Қазақ", ["елка", "казак"]),
        ("שָׁלוֹם مُحَمَّد", ["שלום", "محمد"]),
        ("می\u200cخواهم کتاب", ["ميخواهم", "كتاب"]),
        ("٢٠٢٤ २०२४", ["2024"]),
        ("한국 영화", [unicodedata.normalize("NFD", word) for word in ("한국", "영화")]),
        ("Don’t L'Avion", ["don", "t", "dont", "l", "avion", "lavion"]),
        ("צה״ל", ["צה", "ל", "צהל"]),
        ("R&B", ["r&b", "r", "b"]),
        ("Q & A", ["q&a", "q", "a"]),
        ("AT&T, C++17, C# or C♯", ["at&t", "at", "t", "c++", "c", "17", "c#", "or"]),
        ("rock & roll #1 a+b 1+1", ["rock", "roll", "1", "a", "b"]),
        ("東京2024", ["東", "京", "東京", "2024"]),
        ("アニメ", ["ア", "ニ", "メ", "アニ", "ニメ"]),
        ("ｱﾆﾒ", ["ア", "ニ", "メ", "アニ", "ニメ"]),
        ("人々", ["人", "々", "人々"]),
        ("ดีครับ", ["ดี", "ค", "รั", "บ", "ดีค", "ครั", "รับ"]),
        ("ລາວ", ["ລ", "າ", "ວ", "ລາ", "າວ"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ", "ខ្មែ", "មែរ"]),
        ("ကိုယ်", ["ကို", "ယ်", "ကိုယ်"]),
    ],
)
def test_the_words_of_a_name(name: str, said: list[str]) -> None:
    assert words(name, 1) == said


def test_of_scripts_without_spaces_pieces_of_two_are_published_but_not_single_characters() -> None:
    assert words("東京タワー") == ["東京", "京タ", "タワ", "ワー"]
    assert words("猫") == []
    assert words("猫", 2) == ["猫"]


@pytest.mark.parametrize(
    ("query", "name", "found"),
    [
        ("lodz", "Łódź nocą", True),
        ("ŁÓDŹ", "Lodz", True),
        ("dont", "Don't", True),
        ("don't", "Dont", True),
        ("avion", "L'Avion", True),
        ("l'avion", "L’Avion", True),
        ("r&b", "The best of R&B", True),
        ("r&b", "B and R", False),
        ("marks&spencer", "Marks & Spencer", True),
        ("c++", "C++ Primer", True),
        ("c++", "C Primer", False),
        ("c#", "Programming in C#", True),
        ("notepad++", "notepad 8", True),
        ("京タワ", "東京タワー", True),
        ("猫", "黒猫", True),
        ("京東", "東京", False),
        ("फोटो", "शादी की फोटो.zip", True),
        ("फ", "फोटो", False),
    ],
)
def test_a_query_finds_a_name(query: str, name: str, found: bool) -> None:
    assert wanted(query, 1)
    assert matches(wanted(query, 1), name) is found


def test_the_longest_tell_most_and_common_ones_nothing() -> None:
    assert telling("the annual report and the accounts.pdf", 2, 0) == ["accounts", "annual"]
    assert telling("the.zip", 3, 3) == []
    assert telling("東京タワー tower", 2, 9) == ["tower", "東京", "京タ", "タワ", "ワー"]
    assert telling("東京タワー tower", 2, 1) == ["tower", "東京", "京タ"]
    assert most_telling(["the", "zip", "report"]) == "report"
    assert most_telling(["the", "zip"]) == "the"


def test_all_wanted_words_have_to_be_there() -> None:
    assert matches(wanted("zola germinal"), "Germinal, by Émile Zola")
    assert not matches(wanted("zola nana"), "Germinal, by Émile Zola")
    assert not matches(["zol"], "zola")
    assert matches([], "anything")


@given(st.text(max_size=200))
def test_words_are_words_again(text: str) -> None:
    found = words(text, 1)
    assert len(set(found)) == len(found)
    assert all(1 <= len(word) <= MAX_WORD_CHARS and " " not in word and '"' not in word for word in found)
    assert set(words(text)) <= set(found)
    assert matches(found, text)
    assert set(found) <= set(words(" ".join(found), 1))


@given(st.text(max_size=200))
def test_a_name_is_found_by_itself(text: str) -> None:
    assert matches(wanted(text, 1), text)
    assert matches(wanted(text, 1), f"before {text} and after")


@given(st.text(OF_OLD, max_size=100), st.sampled_from(["NFC", "NFD"]))
def test_all_ways_to_write_an_accent_give_the_same_words(text: str, form: Literal["NFC", "NFD"]) -> None:
    assert words(unicodedata.normalize(form, text), 1) == words(text, 1)


@given(st.text(max_size=200), st.integers(0, 8), st.integers(0, 8))
def test_what_tells_is_among_the_words(text: str, most: int, most_pieces: int) -> None:
    found = telling(text, most, most_pieces)
    assert len(found) == len(set(found)) <= most + most_pieces
    assert set(found) <= set(words(text)) - COMMON
    left = set(words(text)) - COMMON - set(found)
    assert len(found) >= most or not left
    assert all(len(word) >= 2 for word in found)
    assert MIN_WORD_CHARS > 2
