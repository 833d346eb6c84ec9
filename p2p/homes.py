"""Homes: a peer's, which is never shared, and its user's, which is shared only if that is really meant.

A peer's home holds its secret key, what it fetches and the inputs and results of its jobs. Sharing is a matter of one
word too many, and cannot be taken back: so every path that a user names for sharing is looked at here first.
"""

import os
from collections.abc import Collection
from pathlib import Path

from p2p.errors import ConfigError
from p2p.formats import shortened
from p2p.paths import resolved

KEY_FILE = "key.pem"
LOCK_FILE = "lock"
DATABASE_FILE = "shoal.db"
ENVIRONMENTS = "environments"
"""The folder in a home with Python environments: packed ones, those of requirements, and fetched ones."""

_KEYS = frozenset({".ssh", ".gnupg"})


def refuse(path: Path, sure: bool = False) -> None:
    """Raises ConfigError for a path that must not leave this machine, or only if its user is `sure`. Blocks.

    What a folder holds is for whoever walks through it: see `is_home`. Raises StorageError if the disk refuses to look.
    """
    real = resolved(path)
    if (home := home_around(real)) is not None:
        lies = "is" if home == real else f"is in {shortened(str(home))},"
        raise ConfigError(
            f"{shortened(str(path))} {lies} the home of a Shoal peer, with its secret key, and must not be shared. "
            "Copy what you want to share to another folder."
        )
    if not sure and (why := doubt(real)) is not None:
        raise ConfigError(f"{shortened(str(path))} {why}. If you mean it, share it by `shoal share --yes`.")


def refuse_folder(folder: Path, names: Collection[str]) -> None:
    """Raises ConfigError if a folder with these names in it, met below a path to be shared, is a peer's home."""
    if is_home(names):
        raise ConfigError(
            f"{shortened(str(folder))} is the home of a Shoal peer, with its secret key, and must not be shared. "
            "Leave it out with --exclude or in .shoalignore."
        )


def is_home(names: Collection[str]) -> bool:
    """Whether a folder with these names in it is the home of a peer."""
    return KEY_FILE in names and (LOCK_FILE in names or DATABASE_FILE in names)


def home_around(path: Path) -> Path | None:
    """The peer's home that a path is or lies in. The path is from the root, without symbolic links. Blocks."""
    for folder in (path, *path.parents):
        if is_home({name for name in (KEY_FILE, LOCK_FILE, DATABASE_FILE) if os.path.lexists(folder / name)}):
            return folder
    return None


def doubt(path: Path) -> str | None:
    """Why sharing a path is probably a mistake, as the rest of a sentence about it; None if nothing speaks against it.

    The path is from the root, without symbolic links.
    """
    if path == Path(path.anchor):
        return "is the whole file system"
    try:
        own = Path.home().resolve()
    except RuntimeError:  # a user without a home
        own = None
    if path == own:
        return "is your home directory"
    if own is not None and path in own.parents:
        return "holds your home directory"
    if keys := _KEYS & {part.lower() for part in path.parts}:
        return f"is in a {min(keys)} folder, where secret keys are kept"
    return None
