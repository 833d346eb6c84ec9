"""Turns errors of the disk into words: what happened, and what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2p.errors import StorageError
from p2p.formats import shortened


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
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = "Choose another --out, or get the right to write there."
        case errno.ENOTDIR | errno.EEXIST | errno.ENOENT | errno.EISDIR | errno.ELOOP:
            advice = "Something else is in its place: choose another --out."
        case errno.EFBIG:
            advice = "No file may be that large there: choose another --out."
        case errno.ENAMETOOLONG:
            advice = "Choose an --out with a shorter path."
        case _:
            advice = "Check the disk and run the same command again: what was fetched is kept."
    # A relative name is one of ours, such as that of a `.part` file, in a folder that the error does not name.
    where = error.filename if isinstance(error.filename, str) and os.path.isabs(error.filename) else folder
    return StorageError(f"Cannot write to {shortened(str(where))}: {error.strerror}. {advice}")
