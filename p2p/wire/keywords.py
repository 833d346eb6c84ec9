"""Cuts a name into its searchable words: case-folded, without accents, of three or more letters or digits."""

import re
import unicodedata

MAX_WORD_CHARS = 40
MIN_WORD_CHARS = 3
_WORD = re.compile(r"[^\W_]+")
_COMMON = """and are das der die for les los the und von with zip tar mp3 mp4 mkv avi pdf jpg png txt iso"""
COMMON = frozenset(word for word in _COMMON.split(" "))
"""Words that occur in too many names to get a record of their own; they are still matched."""


def words(text: str, least: int = MIN_WORD_CHARS) -> list[str]:
    """The words of the text with at least `least` letters, in order, each once."""
    # Decomposing can bring capitals that folding did not see (a mathematical A), so fold after it as well.
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    folded = unicodedata.normalize("NFKD", decomposed.casefold())
    plain = "".join(letter for letter in folded if not unicodedata.combining(letter))
    found = (match.group()[:MAX_WORD_CHARS] for match in _WORD.finditer(plain))
    return list(dict.fromkeys(word for word in found if len(word) >= least))


def telling(text: str, most: int) -> list[str]:
    """The words by which the DHT finds a name: the `most` longest ones that are not common."""
    found = [word for word in words(text) if word not in COMMON]
    return sorted(found, key=len, reverse=True)[:most]


def matches(wanted: list[str], text: str) -> bool:
    """Whether the text has all the wanted words."""
    return set(wanted) <= set(words(text))
