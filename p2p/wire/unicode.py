"""Unicode for searching: the form in which letters are compared, and where words begin and end (UAX #29).

Python's own tables (`unicodedata`, `str.lower`, `re`) differ between its versions, and then peers would disagree about
words. So everything here comes from the tables of one version of Unicode, in `unicode_data`, and is the same on every
Python. Libraries were considered: uniseg has word breaks, unicodedata2 and pyunormalize have normal forms, but none has
case folding, and each follows Unicode with its own releases.
"""

import base64
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache

from p2p.wire import unicode_data

UNICODE_VERSION = unicode_data.UNICODE_VERSION
OTHER = "-"
"""The class of characters that have no other. The classes `&`, `+` and `#` are these characters alone; S and J are
letters of scripts without spaces between words (J those that Unicode counts to words); p and P are pictures."""
EXTENDS = "[xfz]*+"
"""Marks and invisible characters, which belong to the character before them (WB4)."""

_HANGUL, _V, _T = 0xAC00, 21, 28
_SYLLABLE = re.compile("[\uac00-\ud7a3]")
_L_BASE, _V_BASE, _T_BASE = 0x1100, 0x1161, 0x11A7


def letters(plain: str, quotes: str, numeric: str) -> str:
    """The pattern of a run of letters and digits, as classes (WB5 to WB12).

    `plain` has the classes of letters, Hebrew's excepted; `quotes` those of what may stand between two letters, and
    `numeric` between two digits.
    """
    then = f"(?=[{plain}H])"
    inside = f"(?:[{quotes}]{EXTENDS}{then})?"
    hebrew = f'(?:[{quotes}]{EXTENDS}{then}|"{EXTENDS}(?=H))?'
    digits = f"(?:[{numeric}]{EXTENDS}(?=N))?" if numeric else ""
    return f"(?:[{plain}]{EXTENDS}{inside}|H{EXTENDS}{hebrew}|N{EXTENDS}{digits})"


@cache
def _segment() -> re.Pattern[str]:
    """The pattern of what is between two breaks, as classes."""
    letter, kana, low_line = letters("APJ", ":.'", ",.'"), f"K{EXTENDS}", f"_{EXTENDS}"
    part = f"(?:(?:{letter})+|(?:{kana})+)"
    word = f"(?:{low_line})*{part}(?:(?:{low_line})+{part})*(?:{low_line})*|(?:{low_line})+"
    hebrew = f"(?:{low_line})*(?:{part}(?:{low_line})+)*(?:{letter})*H{EXTENDS}'{EXTENDS}(?![APJH])"
    flag = f"r{EXTENDS}(?:r{EXTENDS})?"
    return re.compile(f"cl|[cln]|(?:{hebrew}|{word}|w+{EXTENDS}|{flag}|.{EXTENDS})(?:(?<=z)[pP]{EXTENDS})*")


def segments(text: str) -> Iterator[str]:
    """The text, cut at every break between words that Unicode has by default."""
    return (text[match.start() : match.end()] for match in _segment().finditer(classes(text)))


def classes(text: str) -> str:
    """The class of each character, as one letter: the value of its property Word_Break, or see `OTHER`."""
    return text.translate(_ASCII_CLASSES if text.isascii() else _classes())


def fold(text: str) -> str:
    """The text as it is compared: without case, accents, invisible characters, and differences of compatibility.

    Vowel signs and other marks that belong to a word stay, in canonical order. Syllables of Hangul are decomposed.
    """
    if text.isascii():
        return text.translate(_ASCII_FOLDS)
    orders, several = _orders()
    decomposed = _SYLLABLE.sub(_jamo, text.translate(_folds()))
    if orders.keys().isdisjoint(decomposed):
        return decomposed
    return several.sub(lambda match: "".join(sorted(match[0], key=orders.__getitem__)), decomposed)


def _jamo(match: re.Match[str]) -> str:
    """A syllable of Hangul, decomposed."""
    number = ord(match[0]) - _HANGUL
    leading, vowel, trailing = number // (_V * _T), number // _T % _V, number % _T
    found = chr(_L_BASE + leading) + chr(_V_BASE + vowel)
    return found + chr(_T_BASE + trailing) if trailing else found


class _Classes(dict[int, str]):
    """The class of each character; those of ASCII are in it, others are looked up."""

    def __init__(self) -> None:
        super().__init__()
        self._starts: list[int] = [-1]
        self._found: list[str] = [OTHER]
        at = 0
        for line in _lines(unicode_data.CLASSES):
            gap, count, letter = line.split(" ")
            if int(gap, 16):
                self._starts.append(at)
                self._found.append(OTHER)
            self._starts.append(at + int(gap, 16))
            self._found.append(letter)
            at = self._starts[-1] + int(count, 16)
        self._starts.append(at)
        self._found.append(OTHER)
        self.update({code: self[code] for code in range(128)})

    def __missing__(self, code: int) -> str:
        return self._found[bisect_right(self._starts, code) - 1]


@cache
def _classes() -> _Classes:
    return _Classes()


@cache
def _folds() -> dict[int, str]:
    """What each character becomes that does not stay as it is, but for the syllables of Hangul."""
    found, code, single = dict(_ASCII_FOLDS), 0, 0
    for line in _lines(unicode_data.FOLDS):
        gap, said = line.split(" ", 1)
        code += int(gap, 16)
        if said.startswith("."):
            found[code] = said[1:]
        else:
            single += int(said, 16)
            found[code] = chr(single)
    return found


@cache
def _orders() -> tuple[dict[str, int], re.Pattern[str]]:
    """The canonical combining class of each mark that has one, and the pattern of several such marks in a row."""
    found: dict[str, int] = {}
    at = 0
    for line in _lines(unicode_data.ORDERS):
        gap, count, order = line.split(" ")
        first = at + int(gap, 16)
        at = first + int(count, 16)
        found.update({chr(code): int(order) for code in range(first, at)})
    return found, re.compile(f"[{''.join(found)}]{{2,}}")


def _lines(packed: str) -> list[str]:
    return zlib.decompress(base64.b85decode(packed)).decode().split("\n")


_ASCII_FOLDS = {code: chr(code).lower() for code in range(128)} | {ord("`"): "'"}
_ASCII_CLASSES = (
    {
        code: "A" if chr(code).isalpha() else "N" if chr(code).isdigit() else said
        for code, said in enumerate(OTHER * 128)
    }
    | {ord(said): said for said in "&+#'\",.:_"}
    | {10: "l", 13: "c", 11: "n", 12: "n", 32: "w", ord(";"): ","}
)
