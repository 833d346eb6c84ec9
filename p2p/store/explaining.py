"""What a disk refuses, in words: its errors, and that it has no room for what is still to come."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2p import causes
from p2p.core.shares import names
from p2p.errors import StorageError
from p2p.formats import format_size, shortened

SPARE_BYTES = 16 * 1024 * 1024
"""The free space that a fetch leaves on the disk, if it is as large itself."""


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turns the body's OSErrors into StorageErrors."""
    try:
        yield
    except OSError as error:
        raise explanation(error, folder) from error


def explanation(error: OSError, folder: Path) -> StorageError:
    """Describes an error of the disk in words: what happened, and what to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "Make room and run the same command again: what was fetched is kept."
        case errno.EACCES | errno.EPERM:
            advice = "Choose another --out, or get the right to write there."
        case errno.EROFS:
            advice = "That disk is mounted read-only: choose another --out."
        case errno.ENOTDIR | errno.EEXIST | errno.ENOENT | errno.EISDIR | errno.ELOOP:
            advice = "Something else is in its place: choose another --out."
        case errno.EFBIG:
            advice = "No file may be that large there: choose another --out."
        case errno.ENAMETOOLONG:
            advice = "Choose an --out with a shorter path."
        case _:
            again = "Run the same command again: what was fetched is kept."
            advice = f"{causes.advice(error, 'Check the disk.')} {again}"
    where, name = str(folder), error.filename
    if isinstance(name, str) and os.path.isabs(name):
        where = name
    elif isinstance(name, str) and names.refusal(name) is None and not name.startswith(".shoal-"):
        # It is in a folder that the error does not name; names that only ask the disk tell the user nothing.
        where = f"{name} in {where}"
    return StorageError(f"Cannot write to {shortened(where)}: {causes.what(error)}. {advice}")


def check_room(descriptor: int, folder: Path, missing: int) -> None:
    """Raises StorageError if the disk of an open folder lacks room for `missing` bytes. Raises OSError."""
    room = os.fstatvfs(descriptor)
    if not room.f_blocks:
        return  # a disk that does not say, as some over FUSE
    free = room.f_bavail * room.f_frsize
    # A small fetch leaves less: it is not what fills the disk.
    spare = min(SPARE_BYTES, missing)
    if missing and missing + spare > free:
        raise StorageError(
            f"{folder} has {format_size(free)} free, but {format_size(missing)} are still to come, and "
            f"{format_size(spare)} must stay free. Make room or choose another --out; what was fetched is kept."
        )
