"""Code for the SQLite files of peers and trackers: transactions, and schemas built in numbered steps.

The steps are the files `migrations/NNNN.sql` of a package; a database's `user_version` tells how many steps were
applied to it.
"""

import contextlib
import importlib.resources
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from p2p.errors import StorageError


def pending(connection: sqlite3.Connection, path: Path, package: str, option: str) -> list[tuple[int, str]]:
    """The numbered steps that the file at `path` still needs. Changes nothing.

    Raises StorageError for a file of a newer Shoal; the error names the option that chooses another.
    """
    folder = importlib.resources.files(package) / "migrations"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(names):
        raise StorageError(
            f"{path} was made by a newer Shoal (schema {version}, this one knows {len(names)}). "
            f"Update Shoal, or choose another {option}."
        )
    return [(number, (folder / name).read_text("utf-8")) for number, name in enumerate(names, 1) if number > version]


def apply(connection: sqlite3.Connection, steps: list[tuple[int, str]]) -> None:
    """Applies the steps, each completely or not at all."""
    for number, script in steps:
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


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
