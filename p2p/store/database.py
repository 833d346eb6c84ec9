"""The peer's state, in SQLite with a write-ahead log, which survives a kill -9 at any moment.

Calls block, and may come from any thread; the database runs one statement or transaction at a time. The numbered files
in `migrations` together make the schema; a database written by a newer Shoal is refused and left untouched.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from p2p import private, sqlite
from p2p.homes import DATABASE_FILE

MIGRATIONS = Path(__file__).with_name("migrations")
BUSY_TIMEOUT_S = 10.0


class Database:
    """One open database. Its methods raise StorageError for any error of SQLite or the disk."""

    def __init__(self, home: Path) -> None:
        self._path = home / DATABASE_FILE
        self._lock = threading.Lock()
        with self._explained():
            private.touch(self._path)
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Closes the database. Idempotent."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs a query. Returns all rows."""
        with self._lock, self._explained():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Runs a query. Returns the first row, or None."""
        with self._lock, self._explained():
            row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
            return row

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits all of the body's statements, or none."""
        with self._lock, self._explained(), sqlite.transaction(self._connection) as connection:
            yield connection

    def _open(self) -> None:
        steps = sqlite.pending(self._connection, self._path, MIGRATIONS, "--home")
        if steps:
            private.close_files(self._path.parent)  # earlier versions let others read some
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA journal_mode = WAL")
        sqlite.apply(self._connection, steps)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise sqlite.explained(error, "The database", self._path, "shares must then be shared again") from error
