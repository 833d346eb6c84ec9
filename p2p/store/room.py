"""Whether a disk has room for what is still to come."""

import os
from pathlib import Path

from p2p.errors import StorageError
from p2p.formats import format_size

SPARE_BYTES = 16 * 1024 * 1024
"""The free space that a fetch leaves on the disk, if it is as large itself."""


def check(descriptor: int, folder: Path, missing: int) -> None:
    """Raises StorageError if the disk of an open folder lacks room for `missing` bytes. Raises OSError."""
    room = os.fstatvfs(descriptor)
    free = room.f_bavail * room.f_frsize
    # A small fetch leaves less: it is not what fills the disk.
    spare = min(SPARE_BYTES, missing)
    if missing and missing + spare > free:
        raise StorageError(
            f"{folder} has {format_size(free)} free, but {format_size(missing)} are still to come, and "
            f"{format_size(spare)} must stay free. Make room or choose another --out; what was fetched is kept."
        )
