"""What only its user may read, whatever the folder around it allows: a peer's home, and a tracker's database.

Whatever makes a file there makes it with these functions, or with `MODE`. The umask stays the user's: files that are
fetched, and results, are made outside, with the modes that any program's files get.
"""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

MODE = 0o600
"""The mode of a file that only this user may read."""
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
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        _close(descriptor)
    finally:
        os.close(descriptor)


def close_files(folder: Path) -> None:
    """Takes the files in a folder, and in those below, from others; those of somebody else stay."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with suppress(OSError):  # gone, or not this user's
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and status.st_mode & _OTHERS:
                    os.chmod(path, stat.S_IMODE(status.st_mode) & ~_OTHERS)


def opener(path: str, flags: int) -> int:
    """Opens a file for `open`; one that is new, only this user may read. Raises OSError."""
    return os.open(path, flags | os.O_CLOEXEC, MODE)


def write(path: Path, content: bytes) -> None:
    """Makes a file that only this user may read, or fills one that is there. Raises OSError."""
    with open(path, "wb", opener=opener) as file:
        file.write(content)


def hand_out(path: Path, target: Path) -> None:
    """Moves a file to where its user wants it, with the mode that a new file gets there. Raises OSError."""
    with open(target, "ab") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    shutil.move(path, target)
    target.chmod(mode)


def _close(where: Path | int) -> None:
    mode = stat.S_IMODE(os.stat(where).st_mode)
    if mode & _OTHERS:
        os.chmod(where, mode & ~_OTHERS)


def is_open_to_all(folder: Path) -> bool:
    """Whether every user of the machine may make files in a folder. Raises OSError."""
    return bool(folder.stat().st_mode & stat.S_IWOTH)
