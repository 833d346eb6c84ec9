"""Writes settings into the config.toml of a home, and leaves all else in it as it is."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from p2p import causes, config, private
from p2p.config import CONFIG_FILE
from p2p.errors import ConfigError, StorageError

_SECTION = re.compile(r"\s*\[\s*(.*?)\s*\]\s*(#.*)?$")

Value = int | Sequence[str]


def save(home: Path, section: str, values: Mapping[str, Value]) -> Path:
    """Writes these settings of one section. Returns the file's path. Raises ConfigError, StorageError."""
    path = home / CONFIG_FILE
    config.load(home, {}, {})  # what cannot be read is not written over
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        for key, value in values.items():
            text = _with(text, section, key, value)
        _check(path, text, section, values)
        part = path.with_suffix(".toml.part")
        private.touch(part)
        part.write_text(text, "utf-8")
        os.replace(part, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {causes.explained(error)}") from error
    return path


def _check(path: Path, text: str, section: str, values: Mapping[str, Value]) -> None:
    """Raises ConfigError if the text does not say what it should: `_with` does not know all ways to write TOML."""
    import tomllib  # late: few settings are changed

    try:
        found = tomllib.loads(text)[section]
        good = all(found[key] == (value if isinstance(value, int) else list(value)) for key, value in values.items())
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        good = False
    if not good:
        keys = ", ".join(values)
        raise ConfigError(f"{path} is not written line by line. Change {keys} of {section} there by hand.")


def _with(text: str, section: str, key: str, value: Value) -> str:
    """The text of a config.toml in which the key of the section has this value."""
    setting = f"{key} = {json.dumps(value if isinstance(value, int) else list(value))}"
    lines, current = text.splitlines(), ""
    found = None
    for number, line in enumerate(lines):
        if header := _SECTION.fullmatch(line):
            current = header[1]
            if current == section:
                found = number
        elif current == section and re.match(rf"\s*{key}\s*=", line):
            return "\n".join([*lines[:number], setting, *lines[number + 1 :]]) + "\n"
    if found is None:
        return "\n".join([*lines, *([""] if lines else []), f"[{section}]", setting]) + "\n"
    return "\n".join([*lines[: found + 1], setting, *lines[found + 1 :]]) + "\n"
