"""What only its user may read, whatever the folder around it allows: a peer's home, and a tracker's database."""

import os
import stat
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it that are missing, which only this user may enter. Raises OSError.

    One that is there stays as it is.
    """
    if not path.parent.exists():
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def close_folder(path: Path) -> None:
    """Makes a folder that only this user may enter, or takes it from others. Raises OSError."""
    make_folder(path)
    _close(path)


def touch(path: Path) -> None:
    """Makes an empty file that only this user may read, or takes one that is there from others. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _close(descriptor)
    finally:
        os.close(descriptor)


def _close(where: Path | int) -> None:
    mode = stat.S_IMODE(os.stat(where).st_mode)
    if mode & _OTHERS:
        os.chmod(where, mode & ~_OTHERS)


def is_open_to_all(folder: Path) -> bool:
    """Whether every user of the machine may make files in a folder. Raises OSError."""
    return bool(folder.stat().st_mode & stat.S_IWOTH)
