"""What a user names as the input of a job: a link, or a path."""

import stat
from contextlib import suppress
from pathlib import Path

from p2p.errors import ConfigError, StorageError
from p2p.formats import shortened
from p2p.paths import absolute, exists
from p2p.wire.link import is_link, parse_any_link


def named_input(text: str) -> str:
    """A link as it is, and a path made absolute. Raises ConfigError for what can be no input."""
    if not text:
        raise ConfigError("An input is empty. For the current folder, give a dot.")
    if is_link(text):
        return text
    path = absolute(Path(text))
    with suppress(ConfigError, StorageError):
        if not exists(path) and parse_any_link(text):
            return text
    with suppress(OSError):
        if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
            raise ConfigError(f"{shortened(text)} is neither a file nor a folder. Save its data as a file first.")
    return str(path)
