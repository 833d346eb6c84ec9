"""How pages write numbers, ages and the names that peers chose.

The templates escape a peer's text. This module keeps the text from misleading: characters that are invisible, or that
reorder the text around them, become a replacement character.
"""

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

ODD = "\N{REPLACEMENT CHARACTER}"
MAX_MARKS = 6
"""The most combining marks on one letter. No script needs more; a higher stack would cover the lines above."""
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that Unicode classes as letters or marks, but that show nothing."""
_END_OF_TIME = 253402300799.0
"""The last second of the year 9999."""
_AGES = ((365 * 86400, "year"), (30 * 86400, "month"), (86400, "day"), (3600, "hour"), (60, "minute"))


def visible(text: str) -> str:
    """The text with a replacement character for each invisible, control or bidi control character.

    Joiners stay where scripts and emoji need them (RFC 5892, A.1 and A.2).
    """
    if text and text.isascii() and text.isprintable() and not text.isspace():
        return text
    shown = "".join(_shown(text))
    return shown if shown.strip() else "\N{OPEN BOX}" * max(1, len(shown))


def _shown(text: str) -> Iterator[str]:
    marks = 0
    for index, character in enumerate(text):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if character in _JOINERS:
            yield character if _joins(text, index) else ODD
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or character in _BLANK or marks == MAX_MARKS + 1:
            yield ODD
        elif marks <= MAX_MARKS:
            yield character


def _joins(text: str, index: int) -> bool:
    before, after = text[index - 1 : index], text[index + 1 : index + 2]
    if not before or not after:
        return False
    if unicodedata.combining(before) == 9:  # a virama
        return True
    if unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL":
        return unicodedata.category(before) == unicodedata.category(after) == "Lo"
    return unicodedata.category(after) == "So" and (
        unicodedata.category(before) in ("So", "Sk") or before == "\N{VARIATION SELECTOR-16}"
    )


def count(number: float) -> str:
    """`1,234`, or `1.23 M` for a number so large that its last digits do not matter."""
    for power, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= power:
            return f"{_digits(number / power)} {letter}"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.3g}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def plural(number: int, noun: str) -> str:
    """`1 file`, `1,234 files`."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def ago(age_s: float) -> str:
    """`just now`, `3 minutes ago`, `2 days ago`."""
    for length, noun in _AGES:
        if age_s >= length:
            return f"{plural(int(age_s // length), noun)} ago"
    return "just now" if age_s < 10 else f"{int(age_s)} seconds ago"


def brief(age_s: float) -> str:
    """An age in short form: `now`, `3 min`, `2 h`, `5 d`."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if age_s >= length:
            return f"{count(int(age_s // length))} {unit}"
    return "now"


def moment(time: float) -> str:
    """A time in seconds since 1970 in the form that HTML requires, limited to the years 1970 to 9999."""
    return datetime.fromtimestamp(min(max(time, 0.0), _END_OF_TIME), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(time: float) -> str:
    """A time in seconds since 1970 as people read it: `21 Nov, 10:15`, in UTC."""
    at = datetime.fromtimestamp(min(max(time, 0.0), _END_OF_TIME), UTC)
    return f"{at.day} {at:%b, %H:%M}"
