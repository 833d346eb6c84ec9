"""Cuts names and searches into words, which are compared without case and accents.

Words end where Unicode says (UAX #29), with changes for the names of files: `.`, `,`, `:` and `_` always separate, as
they stand for spaces there; an apostrophe joins (`don't` is `dont`), and its parts are words too; and

* scripts without spaces (Han, kana, Thai, Lao, Khmer, Myanmar, ...) are cut into all pieces of two characters;
* `R&B`, `C++` and `C#` are words, together with their signs.

Whoever publishes a name and whoever looks for it must cut alike, so any change here, or in `unicode`, is a new
`VERSION`: that of keyword records, and of a tracker's index.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from p2p.wire import unicode

VERSION = 2
MAX_WORD_CHARS = 40
MIN_WORD_CHARS = 3
_COMMON = """and are das der die for los les the und von with zip tar mp3 mp4 mkv avi pdf jpg png txt iso"""
COMMON = frozenset(word for word in _COMMON.split(" "))
"""Words that occur in too many names to get a record of their own; they are still matched."""

_PIECE = f"[SKJ]{unicode.EXTENDS}"
_LETTERS = f"{unicode.letters('AP', chr(39), '')}+"
_SINGLE = f"[AP]{unicode.EXTENDS}"
_NEXT = "[APHNKSJ]"
_WORD = re.compile(
    f"(?P<pieces>(?:{_PIECE})+)"
    f"|(?P<spaced>(?<![APHNx]){_SINGLE}w&w{_SINGLE}(?!{_NEXT}))"
    f"|{_LETTERS}(?P<signs>(?:&{_LETTERS})+|(?<!N)[+]{{1,2}}(?![+APHKSJ])|#(?!{_NEXT}))?"
)
_PIECES = re.compile(_PIECE)
_QUOTES = re.compile("['\"]")


def words(name: str, least: int = MIN_WORD_CHARS) -> list[str]:
    """The words by which a name is found, in order, each once: those with at least `least` letters.

    A character of a script without spaces counts as two letters.
    """
    found = (said for said, letters in _cut(name) if letters >= least)
    return list(dict.fromkeys(found))


def wanted(query: str, least: int = MIN_WORD_CHARS) -> list[str]:
    """The words that a name must have to be found by the query: fewer than the query's text would have as a name."""
    found = (said for said, letters in _cut(query, of_query=True) if letters >= least)
    return list(dict.fromkeys(found))


def telling(name: str, most: int, most_pieces: int) -> list[str]:
    """The words by which the DHT finds a name: the `most` longest ones that are not common, then pieces of two."""
    found = {said: letters for said, letters in _cut(name) if letters >= MIN_WORD_CHARS and said not in COMMON}
    best = sorted(found, key=found.__getitem__, reverse=True)[:most]
    pieces = (said for said in found if len(_PIECES.findall(unicode.classes(said))) == 2)
    return [*best, *[said for said in pieces if said not in best][:most_pieces]]


def most_telling(wanted: list[str]) -> str:
    """The word of a query to ask the DHT for: the longest that is not common, if there is any."""
    return max((word for word in wanted if word not in COMMON), key=len, default=wanted[0])


def matches(wanted: list[str], name: str) -> bool:
    """Whether the name has all the wanted words."""
    return set(wanted) <= set(words(name, 1))


def _cut(text: str, *, of_query: bool = False) -> Iterator[tuple[str, int]]:
    """Each word, cut to `MAX_WORD_CHARS` characters, and how many letters it counts for."""
    folded = unicode.fold(text)
    classes = unicode.classes(folded)
    for cut in _WORD.finditer(classes):
        said = folded[cut.start() : cut.end()]
        match cut.lastgroup:
            case None:
                found = _plain(said, of_query)
            case "pieces":
                spans = [one.span() for one in _PIECES.finditer(classes, *cut.span())]
                found = _pieces([folded[start:end] for start, end in spans], of_query)
            case _:
                found = _signed(said.replace(" ", ""), of_query)
        for word, letters in found:
            yield word[:MAX_WORD_CHARS], letters


def _plain(said: str, of_query: bool) -> list[tuple[str, int]]:
    if "'" not in said and '"' not in said:
        return [(said, len(said))]
    parts = [part for part in _QUOTES.split(said) if part]
    joined = "".join(parts)
    return [(part, len(part)) for part in ([joined] if of_query else [*parts, joined])]


def _signed(said: str, of_query: bool) -> list[tuple[str, int]]:
    """The word with its signs, and the words in it. A query wants the former only if the latter are too short."""
    parts = said.rstrip("+#").split("&")
    is_short = any(len(part) < MIN_WORD_CHARS for part in parts)
    whole = _QUOTES.sub("", said)
    found = [(whole, max(len(whole), MIN_WORD_CHARS))] if is_short or not of_query else []
    if not is_short or not of_query:
        found += [word for part in parts for word in _plain(part, of_query)]
    return found


def _pieces(characters: list[str], of_query: bool) -> list[tuple[str, int]]:
    singles = [(one, 2) for one in characters] if len(characters) == 1 or not of_query else []
    return singles + [(one + other, 4) for one, other in pairwise(characters)]
