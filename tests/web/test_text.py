"""How the pages write what peers chose: nothing hidden, nothing reordered, ordinary names as they are."""

import shlex
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p import ids
from p2p.ids import ShareId
from p2p.site import charts
from p2p.site import text as site_text
from p2p.wire.link import Link, parse_link
from tracker.web import text

SHARE = ShareId(bytes(range(32)))
HIDDEN = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
MARKS = ("Mn", "Me")


@pytest.mark.parametrize(
    "name",
    [
        "Debian 13.2 amd64.iso",
        "Ŝipoj kaj maroj",
        "船と海",
        "السفن والبحر",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: the non-joiner is part of the spelling
        "क्\u200dष",  # Hindi: the joiner shapes the letters
        "👩\u200d💻 notes",  # one emoji of two
        "e\u0301te\u0301",
        'q\'uote "and" <b>',
    ],
)
def test_ordinary_names_stay(name: str) -> None:
    assert site_text.visible(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("invoice\u202efdp.exe", "invoice\ufffdfdp.exe"),
        ("pay\u200bpal", "pay\ufffdpal"),
        ("pay\u200dpal", "pay\ufffdpal"),
        ("two\nlines\r\t", "two\ufffdlines\ufffd\ufffd"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("a\u2066b\u2069", "a\ufffdb\ufffd"),
        ("soft\u00adhyphen", "soft\ufffdhyphen"),
        ("tag\U000e0041", "tag\ufffd"),
        ("blank\u3164", "blank\ufffd"),
        (" ", "\u2423"),
        ("", "\u2423"),
        ("\u3000\u00a0", "\u2423\u2423"),
    ],
)
def test_what_hides_is_shown(name: str, shown: str) -> None:
    assert site_text.visible(name) == shown


def test_a_tower_of_marks_is_cut() -> None:
    assert site_text.visible("a" + "\u0301" * 50 + "b") == "a" + "\u0301" * 6 + "\ufffdb"


@given(st.text(st.characters(codec=None), max_size=60))
def test_whatever_the_name_it_can_be_seen(name: str) -> None:
    shown = site_text.visible(name)
    assert shown.strip()
    assert len(shown) <= max(1, len(name))
    assert not any(unicodedata.category(character) in HIDDEN for character in shown)
    in_a_row = 0
    for character in shown:
        in_a_row = in_a_row + 1 if unicodedata.category(character) in MARKS else 0
        assert in_a_row <= site_text.MAX_MARKS


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_plain_ascii_is_left_alone(name: str) -> None:
    assert site_text.visible(name) == name


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0"), (1234, "1,234"), (999_999, "999,999"), (1_234_567, "1.23 M"), (10**9, "1 G"), (250 * 10**15, "250 P")],
)
def test_counts(number: int, written: str) -> None:
    assert site_text.count(number) == written


@pytest.mark.parametrize(
    ("age", "written"),
    [
        (0, "just now"),
        (30, "30 seconds ago"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400 * 3.5, "3 days ago"),
        (86400 * 800, "2 years ago"),
    ],
)
def test_ages(age: float, written: str) -> None:
    assert site_text.ago(age) == written


def test_ages_in_brief() -> None:
    ages = (0, 59, 60, 3599, 7200, 86400 * 9)
    assert [site_text.brief(age) for age in ages] == ["now", "now", "1 min", "59 min", "2 h", "9 d"]


def test_times_beyond_any_calendar_are_the_nearest() -> None:
    assert site_text.moment(-1e18) == "1970-01-01T00:00:00Z"
    assert site_text.moment(1e18) == "9999-12-31T23:59:59Z"
    assert site_text.day(1e18) == "31 Dec, 23:59"


@given(
    st.none() | st.text(max_size=255),
    st.none() | st.integers(0, 2**53),
    st.lists(st.text(max_size=300), max_size=3).map(tuple),
)
def test_a_link_is_of_validated_parts(name: str | None, size: int | None, trackers: tuple[str, ...]) -> None:
    shown = text.shown_link(str(Link(SHARE, name, size, (), trackers)), ids.to_text(SHARE))
    assert shown.startswith(f"shoal:s/{ids.to_text(SHARE)}")
    assert not set(shown) & set("<>\"' \n\t\\")
    read = parse_link(shown)
    assert (read.share_id, read.size) == (SHARE, size)
    assert (name or "").startswith(read.name or "")
    assert all(url.startswith(("http://", "https://")) for url in read.trackers)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "javascript:alert(1)",
        "magnet:?xt=urn:btih:0123",
        "https://shoal.example/",
        f"magnet:?xt=urn:shoal:{ids.to_text(bytes(32))}",  # another share
        f"magnet:?dn={quote('x' * 9000)}",
    ],
)
def test_what_is_no_link_to_the_share_is_none(link: str) -> None:
    assert text.shown_link(link, ids.to_text(SHARE)) == ""


@given(st.text(max_size=40))
def test_a_command_is_quoted_for_a_shell(word: str) -> None:
    assert shlex.split(text.command("shoal", "get", word)) == ["shoal", "get", word]


def test_files_stand_in_their_folders() -> None:
    assert text.folders([("b/2", 2), ("readme", 9), ("b/1", 1), ("a/c/x", 3)]) == [
        ("", [("readme", 9)]),
        ("a/c", [("x", 3)]),
        ("b", [("1", 1), ("2", 2)]),
    ]


@given(st.lists(st.integers(), max_size=500), st.integers(2, 60))
def test_a_sample_keeps_the_ends_and_the_order(values: list[int], most: int) -> None:
    at = charts.sampled(range(len(values)), most)
    assert len(at) == min(len(values), most)
    assert at == sorted(set(at))
    if at:
        assert (at[0], at[-1]) == (0, len(values) - 1)
