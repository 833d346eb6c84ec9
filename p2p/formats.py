"""Sizes and times as people write them: `512MiB`, `30s`; and what they wrote, repeated in an error."""

import re

from p2p.errors import ConfigError

_SIZES = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGTP", 1):
    _SIZES[f"{_letter}B"] = 1000**_power
    _SIZES[f"{_letter}IB"] = _SIZES[_letter] = 1024**_power
_TIMES = {"": 1.0, "MS": 0.001, "S": 1.0, "M": 60.0, "MIN": 60.0, "H": 3600.0, "D": 86400.0}
MAX_QUOTED = 80
"""The most characters of a user's text that an error repeats."""
MAX_SHOWN = 400
"""The most characters of a path that an error repeats."""
MIN_RATE = 512
"""The smallest limit on a rate, in bytes per second. Under a smaller one, a chunk does not arrive before it is late."""
_NUMBER = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([a-zA-Z]*)")


def quoted(text: str) -> str:
    """A text that the user gave, for an error: in quotes, and only the beginning and the end of a long one."""
    return repr(shortened(text, MAX_QUOTED))


def shortened(text: str, most: int = MAX_SHOWN) -> str:
    """The beginning and the end of the text, at most `most` characters in total."""
    tail = most // 3
    return text if len(text) <= most else f"{text[: most - tail - 1]}…{text[len(text) - tail :]}"


def parse_size(text: str) -> int:
    """The bytes in a text such as `4096`, `512MiB`, `1.5GB` or `100k` (a letter alone is a power of 1024).

    Raises ConfigError.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2].upper() not in _SIZES:
        raise ConfigError(f"{quoted(text)} is not a size. Write it like 512MiB, 1.5GB or 4096.")
    return int(float(match[1]) * _SIZES[match[2].upper()])


def parse_rate(text: str) -> int:
    """The bytes per second in a limit such as `10MiB`; 0, which means no limit, for `none`. Raises ConfigError."""
    if text.strip().lower() == "none":
        return 0
    rate = parse_size(text)
    if rate < MIN_RATE:
        raise ConfigError(
            f"A limit of {quoted(text)} is too small to work. The smallest is {format_size(MIN_RATE)} per second; "
            "for no limit, leave it out or write none."
        )
    return rate


def parse_time(text: str) -> float:
    """The seconds in a text such as `30s`, `2h` or `1.5`. Raises ConfigError."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2].upper() not in _TIMES:
        raise ConfigError(f"{quoted(text)} is not a time. Write it like 30s, 5m or 2h.")
    return float(match[1]) * _TIMES[match[2].upper()]


def format_size(count: float) -> str:
    """Formats a size, such as `1.5 GiB`, with three significant digits and binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 999.5 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.3g} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def format_time(seconds: float) -> str:
    """Formats a time, such as `45 s`, `2:05` or `1:02:05`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def format_short_time(seconds: float) -> str:
    """Formats a time that may be less than ten seconds, such as `0.4 s`; otherwise as `format_time` does."""
    return f"{seconds:.2g} s" if 0 <= seconds < 9.95 else format_time(seconds)
