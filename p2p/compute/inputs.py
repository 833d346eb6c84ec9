"""What a user names as the input of a job: a link, or a path."""

from contextlib import suppress
from pathlib import Path

from p2p.errors import ConfigError, StorageError
from p2p.paths import absolute, exists
from p2p.wire.link import is_link, parse_any_link


def named_input(text: str) -> str:
    """A link as it is, and a path made absolute. Raises ConfigError for an empty text."""
    if not text:
        raise ConfigError("An input is empty. For the current folder, give a dot.")
    if is_link(text):
        return text
    path = absolute(Path(text))
    with suppress(ConfigError, StorageError):
        if not exists(path) and parse_any_link(text):
            return text
    return str(path)
