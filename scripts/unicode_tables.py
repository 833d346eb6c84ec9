# ruff: noqa: RUF001 - letters that look like others are what this is about
"""Prints p2p/wire/unicode_data.py, made from the Unicode character database: `python -m scripts.unicode_tables FOLDER`.

FOLDER is the database as Debian has it in the package `unicode-data` (/usr/share/unicode). The words of names depend on
these tables, so another version of Unicode is another version of `p2p.wire.keywords`.
"""

import base64
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path

WIDTH = 108
UNICODE = 0x110000
HANGUL = range(0xAC00, 0xAC00 + 11172)

_CLASSES = {
    "CR": "c",
    "LF": "l",
    "Newline": "n",
    "Extend": "x",
    "ZWJ": "z",
    "Format": "f",
    "Regional_Indicator": "r",
    "Katakana": "K",
    "Hebrew_Letter": "H",
    "ALetter": "A",
    "Single_Quote": "'",
    "Double_Quote": '"',
    "MidNumLet": ".",
    "MidLetter": ":",
    "MidNum": ",",
    "Numeric": "N",
    "ExtendNumLet": "_",
    "WSegSpace": "w",
}
"""The letter for each value of Word_Break. `p2p.wire.unicode` says what else there is."""

_ACCENT_SCRIPTS = {"Inherited", "Common", "Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Syriac"}
"""The scripts whose marks are left out by many who write, such as accents, and points for vowels."""
_KANA_VOICING = {0x3099, 0x309A}
_LETTER = re.compile(r"((?:LATIN|CYRILLIC) (?:SMALL|CAPITAL) LETTER [A-Z]+(?: [A-Z]+)??) WITH [A-Z ]+")

_ALSO = {
    "æ": "ae",
    "œ": "oe",
    "ð": "d",
    "þ": "th",
    "ŋ": "n",
    "ı": "i",
    "ȷ": "j",
    "ĸ": "k",
    "ə": "e",
    "ɛ": "e",
    "ɔ": "o",
    "ƿ": "w",
    "ʻ": "'",  # an apostrophe, whatever character stands for it
    "ʼ": "'",
    "‘": "'",
    "’": "'",
    "‛": "'",
    "`": "'",
    "´": "'",
    "׳": "'",
    "״": '"',
    "“": '"',
    "”": '"',
    "♯": "#",
    "ـ": "",  # only stretches a word
    "ی": "ي",  # the same letters on Persian and Arabic keyboards
    "ى": "ي",
    "ک": "ك",
    "ة": "ه",
    "\u200c": "",  # a joiner, which is seldom typed in a search
}
"""What Unicode's own mappings do not say, and people who search expect."""


class Database:
    """The properties of all characters that the tables are made from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.version = re.findall(r"for Version ([0-9.]+)", (folder / "ReadMe.txt").read_text("utf-8"))[0].rstrip(".")
        self.names: dict[int, str] = {}
        self.category: dict[int, str] = {}
        self.order: dict[int, int] = {}
        self.decomposed: dict[int, str] = {}
        self.digit: dict[int, str] = {}
        rows = [line.split(";") for line in (folder / "UnicodeData.txt").read_text("utf-8").splitlines()]
        for fields in rows:
            code = int(fields[0], 16)
            self.names[code] = fields[1]
            self.category[code] = fields[2]
            if fields[3] != "0":
                self.order[code] = int(fields[3])
            if fields[5]:
                self.decomposed[code] = _text(fields[5].rpartition("> ")[2])
            if fields[6]:
                self.digit[code] = fields[6]
        for first, last in pairwise(rows):
            if first[1].endswith(", First>"):
                for code in range(int(first[0], 16), int(last[0], 16)):
                    self.category[code] = first[2]
        self.folded = {
            int(code, 16): _text(text) for code, status, text in self._fields("CaseFolding.txt") if status in {"C", "F"}
        }
        self.breaks = dict(self._ranges("auxiliary/WordBreakProperty.txt"))
        self.scripts = dict(self._ranges("Scripts.txt"))
        self.pictures = {
            code for code, value in self._ranges("emoji/emoji-data.txt") if value == "Extended_Pictographic"
        }

    def _fields(self, name: str) -> Iterator[list[str]]:
        for line in (self._folder / name).read_text("utf-8").splitlines():
            said = line.partition("#")[0].strip()
            if said:
                yield [field.strip() for field in said.split(";") if field.strip()]

    def _ranges(self, name: str) -> Iterator[tuple[int, str]]:
        for codes, value in self._fields(name):
            first, _, last = codes.partition("..")
            for code in range(int(first, 16), int(last or first, 16) + 1):
                yield code, value


def classes(data: Database) -> Iterator[tuple[int, str]]:
    """The class of every character that has one."""
    for code in range(UNICODE):
        said = data.breaks.get(code)
        category = data.category.get(code, "Cn")
        if said == "ALetter" and code in data.pictures:
            yield code, "P"
        elif said == "ALetter" and data.scripts.get(code) == "Han":
            yield code, "J"
        elif said is not None:
            yield code, _CLASSES[said]
        elif category[0] in "LN":
            yield code, "S"
        elif code in data.pictures:
            yield code, "p"
        elif chr(code) in "&+#":
            yield code, chr(code)


def folds(data: Database) -> Iterator[tuple[int, str]]:
    """What each character is in words, unless it is itself. Syllables of Hangul are decomposed by rule."""
    by_name = {name: code for code, name in data.names.items()}
    also = {ord(said): text for said, text in _ALSO.items()}

    def once(code: int) -> str:
        """One step towards the form in words."""
        if code in also:
            return also[code]
        if data.category.get(code) in {"Mn", "Me"} and data.scripts.get(code) in _ACCENT_SCRIPTS:
            return chr(code) if code in _KANA_VOICING else ""
        if code in data.decomposed:
            return data.decomposed[code]
        if code in data.folded:
            return data.folded[code]
        if code in data.digit:
            return data.digit[code]
        if data.breaks.get(code) in {"Format", "ZWJ"}:
            return ""
        plain = _LETTER.fullmatch(data.names.get(code, ""))
        return chr(by_name.get(plain[1], code)) if plain else chr(code)

    for code in sorted(set(data.names) | set(also)):
        if code in HANGUL:
            continue
        text, before = once(code), chr(code)
        while text != before:
            before, text = text, "".join(once(ord(letter)) for letter in text)
        if text != chr(code):
            yield code, text


def runs(pairs: Iterable[tuple[int, str]]) -> str:
    """A line for each run of codes with one value: how far it is after the last one's end, its length, the value."""
    said, at = [], 0
    for _, group in groupby(enumerate(pairs), key=lambda pair: (pair[1][1], pair[1][0] - pair[0])):
        run = [pair for _, pair in group]
        code, value = run[0]
        said.append(f"{code - at:x} {len(run):x} {value}")
        at = code + len(run)
    return "\n".join(said)


def mappings(pairs: Iterable[tuple[int, str]]) -> str:
    """A line for each code that becomes something else: how far it is after the last one, and what it becomes.

    That is a dot and the text, or, if it is a single character, how far this is after the last single one.
    """
    said, at, single = [], 0, 0
    for code, text in pairs:
        if len(text) == 1:
            said.append(f"{code - at:x} {ord(text) - single:x}")
            single = ord(text)
        else:
            said.append(f"{code - at:x} .{text}")
        at = code
    return "\n".join(said)


def _text(codes: str) -> str:
    return "".join(chr(int(code, 16)) for code in codes.split())


def _constant(name: str, text: str) -> str:
    packed = base64.b85encode(zlib.compress(text.encode(), 9)).decode()
    lines = [f'    "{packed[at : at + WIDTH]}"' for at in range(0, len(packed), WIDTH)]
    return f"{name} = (\n" + "\n".join(lines) + "\n)\n"


def module(data: Database) -> str:
    """The source of p2p/wire/unicode_data.py."""
    orders = ((code, str(order)) for code, order in sorted(data.order.items()))
    return (
        f'"""Tables of Unicode {data.version}, made by scripts/unicode_tables.py: compressed lines, in base 85.\n\n'
        "Made from data files that are © Unicode, Inc., under the Unicode licence "
        '(https://www.unicode.org/license.txt).\n"""\n\n'
        f'UNICODE_VERSION = "{data.version}"\n'
        + _constant("CLASSES", runs(classes(data)))
        + _constant("ORDERS", runs(orders))
        + _constant("FOLDS", mappings(folds(data)))
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(module(Database(Path(sys.argv[1]))).encode())
