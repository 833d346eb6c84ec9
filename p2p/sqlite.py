"""Code for the SQLite files of peers and trackers: transactions, errors, and schemas built in numbered steps.

The steps are the files `NNNN.sql` of a folder; a database's `user_version` tells how many steps were
applied to it.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from p2p import causes
from p2p.errors import StorageError


def pending(connection: sqlite3.Connection, path: Path, folder: Path, option: str) -> list[tuple[int, str]]:
    """The numbered steps in `folder` that the file at `path` still needs. Changes nothing.

    Raises StorageError for a file of a newer Shoal; the error names the option that chooses another.
    """
    names = sorted(name for name in os.listdir(folder) if name.endswith(".sql"))
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(names):
        raise StorageError(
            f"{path} was made by a newer Shoal (schema {version}, this one knows {len(names)}). "
            f"Update Shoal, or choose another {option}."
        )
    return [(number, (folder / name).read_text("utf-8")) for number, name in enumerate(names, 1) if number > version]


def apply(connection: sqlite3.Connection, steps: list[tuple[int, str]]) -> None:
    """Applies the steps, all of them or none."""
    if steps:
        scripts = ";".join(script for _, script in steps)
        connection.executescript(f"BEGIN IMMEDIATE; {scripts}; PRAGMA user_version = {steps[-1][0]}; COMMIT;")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commits all of the body's statements, or none. For connections without an isolation level of their own."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has already rolled back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def explained(error: sqlite3.Error | OSError, what: str, path: Path, lost: str) -> StorageError:
    """The error for the user, with advice that fits the cause. `what` names the file; `lost` says what goes with it."""
    if isinstance(error, OSError):
        otherwise = _OF_DISK.get(error.errno or 0, _UNKNOWN)
        said, advice = causes.what(error), causes.advice(error, otherwise, forbidden=_FORBIDDEN)
    else:
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
        said, advice = str(error), _ADVICE.get(code, _UNKNOWN)
        if code == sqlite3.SQLITE_CANTOPEN and not _may_open_more():
            advice = causes.LIMITED
    return StorageError(f"{what} {path} cannot be used: {said}. {advice.format(lost=lost)}")


def _may_open_more() -> bool:
    """Whether this process may open as many more files as a database needs: SQLite does not tell that it may not."""
    opened: list[int] = []
    try:
        while len(opened) < _FILES:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


_FILES = 3
"""The files of a database: itself, its log, and the index of that."""
_PRIMARY = 0xFF
_LOCKED = "Another program has locked it, such as a backup or an editor: end that, or try again when it is done."
_FORBIDDEN = "This user must be able to write to it, and to its folder."
_DAMAGED = "The file is damaged: move it away ({lost})."
_UNKNOWN = "Check the disk; if the file is damaged, move it away ({lost})."
_ADVICE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: causes.FULL,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_NOMEM: causes.OUT_OF_MEMORY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_OF_DISK = {errno.EISDIR: "A folder is in its place: move it away.", errno.ENOENT: "Its folder is gone."}
