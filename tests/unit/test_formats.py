"""Sizes and times as people write them."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p import formats
from p2p.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096 B", 4096),
        ("512MiB", 512 * 1024**2),
        ("512mib", 512 * 1024**2),
        (" 100k ", 100 * 1024),
        ("1.5GB", 1_500_000_000),
        ("1.5 GiB", 3 * 512 * 1024**2),
        ("2T", 2 * 1024**4),
        ("1PB", 10**15),
        ("1kB", 1000),
    ],
)
def test_size(text: str, count: int) -> None:
    assert formats.parse_size(text) == count


@pytest.mark.parametrize(("text", "rate"), [("512", 512), ("10MiB", 10 << 20), ("none", 0), (" None ", 0)])
def test_rate(text: str, rate: int) -> None:
    assert formats.parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "0MiB", "1", "511B", "0.4k"])
def test_a_rate_at_which_nothing_would_arrive_is_refused(text: str) -> None:
    """A limit of 0 meant no limit at all."""
    with pytest.raises(ConfigError, match=r"too small to work.* write none"):
        formats.parse_rate(text)


def test_what_a_user_wrote_is_not_repeated_without_end() -> None:
    assert formats.quoted("ab'c") == repr("ab'c")
    assert formats.quoted("x" * 80) == repr("x" * 80)
    assert len(formats.quoted("x" * 10**6)) == formats.MAX_QUOTED + 2
    with pytest.raises(ConfigError) as refused:
        formats.parse_size("9" * 10**6)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("1.5", 1.5), ("500ms", 0.5), ("5m", 300), ("5 min", 300), ("2h", 7200), ("1D", 86400)],
)
def test_time(text: str, seconds: float) -> None:
    assert formats.parse_time(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "-1", "+1", "1e9", "1,5GB", "1.", ".5", "5 XB", "1 2", "inf", "nan", "1_0"])
def test_neither_size_nor_time(text: str) -> None:
    with pytest.raises(ConfigError, match="not a size"):
        formats.parse_size(text)
    with pytest.raises(ConfigError, match="not a time"):
        formats.parse_time(text)


@given(st.integers(0, 2**50), st.sampled_from(["", "B", "K", "KiB", "M", "MiB"]))
def test_whole_numbers_are_exact(count: int, unit: str) -> None:
    factor = {"": 0, "B": 0, "K": 1, "M": 2}[unit.removesuffix("iB")]
    assert formats.parse_size(f"{count}{unit}") == count * 1024**factor


numeric = st.from_regex(r"[0-9]{0,400}(\.[0-9]{0,40})?\s?[a-zA-Z]{0,4}", fullmatch=True)


@given(st.text(max_size=12) | numeric)
@example("9" * 400)
@example("9" * 18 + "PiB")
@example("١٢")
def test_any_text_is_a_number_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert 0 <= formats.parse_size(text) < 2**120
    with suppress(ConfigError):
        assert 0 <= formats.parse_time(text) < 1e25


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "0.999 KiB"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (123 * 1024, "123 KiB"),
        (3 * 512 * 1024**2, "1.5 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_format_size(count: int, text: str) -> None:
    assert formats.format_size(count) == text


@given(st.integers(0, 10**15))
def test_a_formatted_size_reads_back_to_three_digits(count: int) -> None:
    assert formats.parse_size(formats.format_size(count)) == pytest.approx(count, rel=0.006, abs=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45.4, "45 s"), (59.6, "1:00"), (125, "2:05"), (3599.7, "1:00:00"), (3725, "1:02:05")],
)
def test_format_time(seconds: float, text: str) -> None:
    assert formats.format_time(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (0.4137, "0.41 s"), (9.94, "9.9 s"), (9.96, "10 s"), (70, "1:10")]
)
def test_format_short_time(seconds: float, text: str) -> None:
    assert formats.format_short_time(seconds) == text
