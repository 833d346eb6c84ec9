"""What only its user may read, whatever the folder around it allows: a peer's home, and a tracker's database.

Whatever makes a file there makes it with these functions, or with `MODE`. The umask stays the user's: files that are
fetched, and results, are made outside, with the modes that any program's files get.
"""

import grp
import os
import pwd
import shlex
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

MODE = 0o600
"""The mode of a file that only this user may read."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_UNKNOWN = -1


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


class Exposure(NamedTuple):
    """Who else can change what is in a folder, as a sentence without its end, and what to do about it."""

    who: str
    advice: str


def exposure(folder: Path) -> Exposure | None:
    """Says who, besides this user and root, can make and replace files in a folder. Raises OSError.

    As OpenSSH decides for its own files: the folder is this user's or root's, others may not write to it, and its group
    only if nobody else is in that.
    """
    status, user, path = folder.stat(), os.geteuid(), shlex.quote(str(folder))
    if status.st_uid not in {user, 0}:
        owner = _name(pwd.getpwuid, status.st_uid)
        return Exposure(f"{folder} belongs to another user, {owner}", f"run this as {owner}")
    if status.st_mode & stat.S_IWOTH:
        return Exposure(f"Every user of this machine can write to {folder}", f"chmod o-w {path}")
    if status.st_mode & stat.S_IWGRP and not _members(status.st_gid) <= {user, 0}:
        group = _name(grp.getgrgid, status.st_gid)
        return Exposure(f"Others can write to {folder}, as members of the group {group}", f"chmod g-w {path}")
    return None


def _members(group: int) -> set[int]:
    """The users who are in a group; with `_UNKNOWN`, if some or all of them are unknown."""
    members = {one.pw_uid for one in pwd.getpwall() if one.pw_gid == group}
    try:
        members.update(pwd.getpwnam(name).pw_uid for name in grp.getgrgid(group).gr_mem)
    except KeyError:
        return {_UNKNOWN}
    return members or {_UNKNOWN}


def _name(find: Callable[[int], tuple[Any, ...]], number: int) -> str:
    """The name of a user or group, or its number."""
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)
