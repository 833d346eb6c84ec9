"""Words: the same for whoever publishes a name and whoever looks for it, however it is written."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from p2p.wire.keywords import COMMON, MAX_WORD_CHARS, MIN_WORD_CHARS, matches, telling, words


def test_case_accents_and_what_stands_between_do_not_count() -> None:
    assert words("Émile_Zola - GERMINAL (1885).epub") == ["emile", "zola", "germinal", "1885", "epub"]
    assert words("STRASSE straße") == ["strasse"]
    assert words("a an the of") == ["the"]
    assert words("\uff26\uff35\uff2c\uff2c width \ufb01ne") == ["full", "width", "fine"]
    assert words("00\U0001d468") == ["00a"]
    assert words("") == words("- -- _._") == []


def test_the_longest_tell_most_and_common_ones_nothing() -> None:
    assert telling("the annual report and the accounts.pdf", 2) == ["accounts", "annual"]
    assert telling("the.zip", 3) == []


def test_all_wanted_words_have_to_be_there() -> None:
    assert matches(words("zola germinal"), "Germinal, by Émile Zola")
    assert not matches(words("zola nana"), "Germinal, by Émile Zola")
    assert not matches(["zol"], "zola")
    assert matches([], "anything")


@given(st.text(max_size=200))
def test_words_are_words_again(text: str) -> None:
    found = words(text)
    assert len(set(found)) == len(found)
    assert all(MIN_WORD_CHARS <= len(word) <= MAX_WORD_CHARS for word in found)
    assert words(" ".join(found)) == found
    assert matches(found, text)


@given(st.text(max_size=200))
def test_both_ways_to_write_an_accent_give_the_same_words(text: str) -> None:
    assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))


@given(st.text(max_size=200), st.integers(0, 8))
def test_what_tells_is_among_the_words(text: str, most: int) -> None:
    found = telling(text, most)
    assert len(found) <= most
    assert set(found) <= set(words(text)) - COMMON
    left = set(words(text)) - COMMON - set(found)
    assert len(found) == most or not left
    assert all(len(word) >= len(other) for word in found for other in left)
