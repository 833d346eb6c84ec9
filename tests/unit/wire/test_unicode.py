"""Word breaks and the form of letters, by the tables of one version of Unicode."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.wire import unicode, unicode_data
from p2p.wire.unicode import fold, segments

BREAKS = Path(__file__).with_name(f"WordBreakTest-{unicode.UNICODE_VERSION}.txt")
DEBIANS = Path("/usr/share/unicode")
ROOT = Path(__file__).parents[3]


def test_words_break_where_unicode_says() -> None:
    """The conformance test of UAX #29."""
    lines = [line for line in BREAKS.read_text("utf-8").splitlines() if not line.startswith("#")]
    for line in lines:
        parts = [part.replace("\u00d7", " ").split() for part in line.strip("÷ ").split("÷")]
        expected = ["".join(chr(int(code, 16)) for code in part) for part in parts]
        assert list(segments("".join(expected))) == expected, line
    assert len(lines) == 1823


@given(st.text())
def test_nothing_is_lost_between_breaks(text: str) -> None:
    assert "".join(segments(text)) == text
    assert len(unicode.classes(text)) == len(text)


@given(st.text())
def test_folded_text_stays_as_it_is(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(), st.text())
def test_ascii_is_no_special_case(text: str, other: str) -> None:
    plain = "".join(letter for letter in text if letter.isascii())
    for ahead in ("東", "ß"):
        assert fold(ahead + plain) == fold(ahead) + fold(plain)
        assert unicode.classes(ahead + plain) == unicode.classes(ahead) + unicode.classes(plain)


def test_marks_are_put_in_canonical_order() -> None:
    assert fold("\u0b95\u0bcd\u0bbe") == "\u0b95\u0bcd\u0bbe"
    assert fold("क\u094d\u093c") == fold("क\u093c\u094d")
    assert fold("\u0958") == fold("\u0915\u093c")


def test_the_tables_are_what_the_script_makes() -> None:
    about = DEBIANS / "ReadMe.txt"
    if not about.exists() or f"Version {unicode.UNICODE_VERSION} " not in about.read_text("utf-8"):
        pytest.skip(f"Unicode {unicode.UNICODE_VERSION} (Debian's unicode-data) is not installed here")
    command = [sys.executable, "-m", "scripts.unicode_tables", str(DEBIANS)]
    made = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    assert made == Path(unicode_data.__file__).read_text("utf-8")
