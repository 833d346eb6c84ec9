"""Arguments as programs give them: paths and lists of texts, which are checked as a mistake would have an effect."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from p2p import paths
from p2p.errors import ConfigError

AnyPath = str | os.PathLike[str]


def path(named: AnyPath) -> Path:
    """A path that the user named. An empty one, often a value that was not set, is not the current folder."""
    if not os.fspath(named):
        raise ConfigError("A path is empty. For the current folder, give a dot.")
    return Path(named)


def several(what: str, given: Iterable[AnyPath]) -> Sequence[AnyPath]:
    """Returns what was given. Refuses a single string or path, since its characters would be taken for several."""
    if isinstance(given, str | os.PathLike):
        raise ConfigError(f"{what} are several: give a list, as in {what}=[{os.fspath(given)!r}].")
    return tuple(given)


def absolute(what: str, given: Iterable[AnyPath]) -> tuple[str, ...]:
    """Paths that the user named, from the root."""
    return tuple(str(paths.absolute(path(one))) for one in several(what, given))


def texts(what: str, given: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(str, several(what, given)))
