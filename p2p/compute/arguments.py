"""The arguments of a job, as `--arg NAME=VALUE` gives them.

A value that JSON cannot carry unchanged would be another value in a guest than with `--local`, so it is refused before
either has it: NaN and infinities, keys that come twice, texts that are no UTF-8, and whatever is too large or nested
too deep for a guest.
"""

import json
import unicodedata
from collections.abc import Iterable
from math import isfinite
from typing import Any

import msgspec

from p2p.errors import ConfigError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 64
_PYTHONS = {"True": "true", "False": "false", "None": "null"}
MAX_DIGITS = 4000
"""The longest integer: Python reads no longer ones from text."""


def parse_all(texts: Iterable[str]) -> dict[str, Any]:
    """Parses arguments that were given as NAME=VALUE. Raises ConfigError."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = unicodedata.normalize("NFKC", name)  # as Python does with the names in a file
        if not equals or not name.isidentifier():
            raise ConfigError(
                f"--arg {_short(text)}: write NAME=VALUE, where NAME is an argument of the job's function."
            )
        if name in found:
            raise ConfigError(f"--arg {name} is given twice. Leave out one of them, or give a list.")
        found[name] = _parsed(name, value)
    check(found)
    return found


def check(arguments: dict[str, Any]) -> None:
    """Raises ConfigError for arguments that cannot be passed to a job."""
    for name, value in arguments.items():
        if is_too_deep(value):
            raise _too_deep(name)
    try:
        text = msgspec.json.encode(arguments)
    except UnicodeEncodeError:
        raise ConfigError("The values of --arg must be UTF-8 text.") from None
    if len(text) > MAX_BYTES:
        raise ConfigError(f"The arguments have {len(text)} bytes; {MAX_BYTES} are allowed. Use --input.")
    if b"\\u0000" in text:
        raise ConfigError("The values of --arg must have no NUL characters.")


def _parsed(name: str, text: str) -> Any:
    """The value is JSON, or else text. Raises ConfigError for JSON that is another value to another reader."""
    wrong: list[str] = []

    def constant(word: str) -> None:
        wrong.append(f"{word} is no number in JSON")

    def fraction(number: str) -> float:
        if not isfinite(float(number)):
            wrong.append(f"{_short(number)} is too large for a number")
        return float(number)

    def integer(number: str) -> int:
        if len(number) <= MAX_DIGITS:
            return int(number)
        wrong.append(f"a number has {len(number)} digits, over {MAX_DIGITS}")
        return 0

    def keyed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            wrong.append(f"the key {_short(json.dumps(twice))} comes twice in an object")
        return dict(pairs)

    try:
        value = json.loads(
            text, parse_constant=constant, parse_float=fraction, parse_int=integer, object_pairs_hook=keyed
        )
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError:
        if text.strip() not in _PYTHONS:
            return text
        wrong.append(f"{text.strip()} would be a text, which counts as true; JSON has {_PYTHONS[text.strip()]}")
        value = None
    if wrong:
        raise ConfigError(f"--arg {name}: {wrong[0]}. To pass the value as text, write it as --arg '{name}=\"...\"'.")
    return value


def is_too_deep(value: Any) -> bool:
    """Whether the value is nested too deep. This looks level by level, so that no depth is too large for it."""
    level = [value]
    for _ in range(MAX_DEPTH):
        nests = [one for one in level if isinstance(one, list | dict)]
        if not nests:
            return False
        level = [inner for one in nests for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def _too_deep(name: str) -> ConfigError:
    return ConfigError(f"--arg {name}: the value is nested deeper than {MAX_DEPTH}. Use --input.")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
