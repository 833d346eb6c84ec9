"""The tracker's SQLite file: opens and migrates it; one connection writes, several read.

All calls block. The file has a write-ahead log: readers see the last commit and never wait; kill -9 at any moment loses
at most the last announces, which peers repeat.
"""

import contextlib
import fcntl
import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from p2p import causes, private, sqlite
from p2p.errors import StorageError

MIGRATIONS = Path(__file__).with_name("migrations")
READERS = 3
_BUSY_S = 0.5
"""How long a statement waits while another program has locked the file; all announces wait with it."""
_WRITER_CACHE_KIB, _READER_CACHE_KIB = 32 * 1024, 8 * 1024
_LARGEST_LOG = 64 * 1024 * 1024


def _lock(path: Path) -> BinaryIO:
    """Locks the lock file beside the database, for as long as the database is open."""
    try:
        beside = path.with_name(path.name + ".lock")
        private.touch(beside)
        private.touch(path)
        lock = beside.open("ab")
    except OSError as error:
        raise StorageError(
            f"Cannot write to {path}, or beside it: {causes.explained(error, 'Choose another --db.')}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StorageError(f"Another tracker runs with the database {path}. Stop it, or choose another --db.") from None
    return lock


class Database:
    """The open database, for a writer and several readers. Raises StorageError for any error of SQLite or the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._opened: list[sqlite3.Connection] = []
        self._lock = _lock(path)
        try:
            with self._explained():
                self._writer = self._open(_WRITER_CACHE_KIB)
                sqlite.apply(self._writer, sqlite.pending(self._writer, path, MIGRATIONS, "--db"))
                for _ in range(READERS):
                    reader = self._open(_READER_CACHE_KIB)
                    reader.execute("PRAGMA query_only = ON")
                    self._readers.put(reader)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Idempotent. No reading or writing may be under way."""
        while self._opened:
            self._opened.pop().close()
        self._lock.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lends a connection for reading; the whole body sees one state of the data."""
        reader = self._readers.get()
        try:
            with self._explained():
                reader.execute("BEGIN")
                try:
                    yield reader
                finally:
                    reader.execute("ROLLBACK")
        finally:
            self._readers.put(reader)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lends the connection for writing to one thread at a time. The body's statements all take effect, or none."""
        with self._explained(), sqlite.transaction(self._writer) as writer:
            yield writer

    def _open(self, cache_kib: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._opened.append(connection)
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
        return connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            said = sqlite.explained(error, "The tracker's database", self._path, "peers announce everything again")
            raise said from error
