"""Asks the disk about paths that users name; its refusals become StorageErrors.

`Path.exists` and its like raise OSError for a path that the disk refuses to look at: below another user's folder, with
a name that is too long, or on a mount whose server is gone.
"""

import errno
import os
import stat
from enum import Enum, auto
from pathlib import Path

from p2p import causes
from p2p.errors import ConfigError, StorageError
from p2p.formats import quoted, shortened

MAX_PARTS = 300
"""The most folders in one path: Python makes missing ones by calls within calls, about a thousand at most."""
_MAY_LOOK = "You need the right to look into the folders above it."
_MISSING = {errno.ENOENT, errno.ENOTDIR}


class PathKind(Enum):
    """What is at a path, after symbolic links."""

    FILE = auto()
    FOLDER = auto()
    OTHER = auto()
    """A device, a socket or a pipe."""
    MISSING = auto()


def kind_of(path: str | Path) -> PathKind:
    """Looks at a path. Blocks. Raises StorageError if the disk refuses that, ConfigError for what is no path."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno in _MISSING:
            return PathKind.MISSING
        raise _refused(path, error) from error
    except ValueError as error:
        raise _no_path(path) from error
    if stat.S_ISREG(mode):
        return PathKind.FILE
    return PathKind.FOLDER if stat.S_ISDIR(mode) else PathKind.OTHER


def exists(path: str | Path) -> bool:
    """Whether anything is at the path. Blocks. Raises as `kind_of` does."""
    return kind_of(path) is not PathKind.MISSING


def absolute(path: Path) -> Path:
    """The path from the root. Raises ConfigError if the current folder has been removed."""
    try:
        return path.absolute()
    except OSError as error:
        raise ConfigError(f"The current folder is gone ({causes.what(error)}). Change to another one.") from error


def to_make(path: Path) -> Path:
    """The path from the root of a folder that may have to be made. Raises as `absolute`.

    Also raises StorageError if it is too deep.
    """
    if len(path.parts) > MAX_PARTS:
        raise StorageError(f"{shortened(str(path))} has more than {MAX_PARTS} folders, one in the other.")
    return absolute(path)


def resolved(path: Path) -> Path:
    """The path from the root, without symbolic links. Raises as `kind_of` does."""
    try:
        return path.resolve()
    except OSError as error:
        raise _refused(path, error) from error
    except ValueError as error:
        raise _no_path(path) from error
    except RuntimeError as error:  # Python before 3.13 says so of a loop of symbolic links
        raise StorageError(f"Cannot look at {path}: its symbolic links form a loop.") from error


def _refused(path: str | Path, error: OSError) -> StorageError:
    return StorageError(f"Cannot look at {shortened(str(path))}: {causes.explained(error, forbidden=_MAY_LOOK)}")


def _no_path(path: str | Path) -> ConfigError:
    return ConfigError(f"{quoted(str(path))} is not a path: it has a zero byte or a character that no path can have.")
