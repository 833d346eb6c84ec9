"""The fetches that have begun, and which chunks each has. These records survive a crash.

A bitmap file in the home says which chunks are written. A chunk's bit is set once the write of the chunk has returned.
Kill -9 cannot undo the two writes, but a power cut can, so the file is trusted only until the machine reboots. The
database says which chunks an fsync has covered, and is always trusted.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from p2p import causes
from p2p.core.shares import bitmap
from p2p.core.shares.local_names import Renames
from p2p.errors import StorageError
from p2p.ids import ShareId
from p2p.store import posix
from p2p.store.database import Database
from p2p.store.local_paths import pack_names, unpack_names

FETCH_FOLDER = "fetches"


class Fetches:
    """The records of fetches that have begun, in the database. Blocking."""

    def __init__(self, database: Database, home: Path) -> None:
        self._database = database
        self._folder = home / FETCH_FOLDER

    def remember(self, share: ShareId, folder: Path) -> None:
        """Records that a fetch of this share to this folder has begun, unless that is recorded already."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO fetch (share, folder, boot, durable, sources) VALUES (?, ?, '', x'', '[]')",
                [share, as_value(folder)],
            )

    def begin(self, share: ShareId, folder: Path, chunks: int) -> "FetchRecord":
        """Opens the record of a remembered fetch, with the chunks that an earlier try left."""
        row = self._database.row(
            "SELECT id, boot, durable, names FROM fetch WHERE share = ? AND folder = ?", [share, as_value(folder)]
        )
        assert row is not None, "remembered before"
        number, last_boot, durable_bytes, packed = row
        changes = None if packed is None else unpack_names(bytes(packed))
        everything = (1 << chunks) - 1
        durable = bitmap.from_bytes(durable_bytes) & everything
        have = durable
        with _recording(self._path(number)):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            boot = posix.boot_id()
            if last_boot == boot:
                with suppress(FileNotFoundError):
                    have |= bitmap.from_bytes(self._path(number).read_bytes()) & everything
            else:
                # The file may have bits of chunks that never reached the disk: replace it before `boot` is updated.
                self._path(number).unlink(missing_ok=True)
        record = FetchRecord(self._database, number, self._path(number), chunks, have, durable, changes)
        try:
            with self._database.transaction() as connection:
                connection.execute("UPDATE fetch SET boot = ? WHERE id = ?", [boot, number])
        except BaseException:
            record.close()
            raise
        return record

    def drop(self, share: ShareId, folder: Path) -> None:
        """Forgets the fetch of this share to this folder; the fetch must not be running."""
        values = [share, as_value(folder)]
        row = self._database.row("SELECT id FROM fetch WHERE share = ? AND folder = ?", values)
        if row is not None:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM fetch WHERE id = ?", [row[0]])
            with _recording(self._path(row[0])):
                self._path(row[0]).unlink(missing_ok=True)

    def names(self, share: ShareId, folder: Path) -> Renames | None:
        """The names that differ on the disk from those in the share; None if no such fetch has begun to write."""
        sql = "SELECT names FROM fetch WHERE share = ? AND folder = ?"
        row = self._database.row(sql, [share, as_value(folder)])
        return None if row is None or row[0] is None else unpack_names(bytes(row[0]))

    def sources(self, share: ShareId) -> list[str]:
        """The peers, as hints for links, from which earlier tries fetched this share."""
        return [
            hint
            for (sources,) in self._database.rows("SELECT sources FROM fetch WHERE share = ?", [share])
            for hint in json.loads(sources)
        ]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.have"


class FetchRecord:
    """The record of which chunks one fetch has, which survives a crash. Usable from any thread."""

    def __init__(
        self,
        database: Database,
        number: int,
        path: Path,
        chunks: int,
        have: int,
        durable: int,
        names: Renames | None,
    ) -> None:
        self._database = database
        self._number = number
        self._path = path
        self._lock = threading.Lock()
        self.have = have
        self.durable = durable
        self.names = names
        """The names that differ on the disk from those in the share; None if the disk has not been asked yet."""
        self._bytes = bytearray(bitmap.to_bytes(have, chunks))
        with _recording(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(self._descriptor, self._bytes, 0)
                os.ftruncate(self._descriptor, len(self._bytes))
            except BaseException:
                os.close(self._descriptor)
                raise

    def has(self, chunk: int) -> bool:
        """Whether the chunk is written. This is faster than testing its bit in `have`."""
        return bool(self._bytes[chunk >> 3] & 1 << (chunk & 7))

    def add(self, first: int, count: int = 1) -> None:
        """Records that the writes of these chunks have returned. May be called in any thread."""
        at, end = first >> 3, first + count + 7 >> 3
        # Neighbouring chunks share a byte, so each thread must write the other threads' bits too.
        with self._lock:
            before = self._bytes[at:end]
            bits = bitmap.from_bytes(before) | bitmap.span(first & 7, count)
            self._bytes[at:end] = bitmap.to_bytes(bits, 8 * len(before))
            try:
                os.pwrite(self._descriptor, self._bytes[at:end], at)
            except OSError as error:
                self._bytes[at:end] = before
                raise _unrecorded(error, self._path) from error
            self.have |= bitmap.span(first, count)

    def correct(self, *, there: int = 0, gone: int = 0) -> None:
        """Corrects the record to match the disk, which has the chunks in `there` and lacks those in `gone`."""
        with self._lock, _recording(self._path):
            self.have = (self.have | there) & ~gone
            self._bytes[:] = bitmap.to_bytes(self.have, len(self._bytes) * 8)
            os.pwrite(self._descriptor, self._bytes, 0)
        self.keep_durable(self.durable)

    def keep_durable(self, durable: int) -> None:
        """Records that these chunks have reached the disk, except those that were dropped since."""
        with self._database.transaction() as connection:
            with self._lock:
                self.durable = durable & self.have
                packed = bitmap.to_bytes(self.durable, len(self._bytes) * 8)
            connection.execute("UPDATE fetch SET durable = ? WHERE id = ?", [packed, self._number])

    def keep_names(self, names: Renames) -> None:
        """Saves which names differ on the disk from those in the share, so that the next try finds the files."""
        self.names = names
        with self._database.transaction() as connection:
            connection.execute("UPDATE fetch SET names = ? WHERE id = ?", [pack_names(names), self._number])

    def begin_top(self, name: str, follows: bytes) -> None:
        """Records that the fetch is about to make a folder of this name, which is not there, in its output folder.

        It is made for the share and, unless `follows` is empty, for that mutable link.
        """
        with self._database.transaction() as connection:
            self._made(connection, name, follows, done=False)

    def keep_top(self, name: str, follows: bytes, *, is_new: bool) -> None:
        """Records that the folder was made, and by no other fetch if it `is_new`; this outlives the fetch."""
        with self._database.transaction() as connection:
            if is_new:
                connection.execute(
                    "DELETE FROM made WHERE name = ? AND folder = (SELECT folder FROM fetch WHERE id = ?)",
                    [name, self._number],
                )
            self._made(connection, name, follows, done=True)

    def _made(self, connection: sqlite3.Connection, name: str, follows: bytes, *, done: bool) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO made SELECT folder, ?, share, ? FROM fetch WHERE id = ?",
            [name, done, self._number],
        )
        if follows:
            connection.execute(
                "INSERT OR REPLACE INTO made SELECT folder, ?, ?, ? FROM fetch WHERE id = ?",
                [name, follows, done, self._number],
            )

    def has_made(self, name: str, follows: bytes, *, maybe_unnamed: bool = False) -> bool | None:
        """Whether a folder of this name was made for this share, or for the mutable link.

        None if it was about to be made when the fetch ended. `maybe_unnamed`: whether it may be the one of which an
        earlier version of Shoal recorded no name.
        """
        row = self._database.row(
            "SELECT max(done) FROM made JOIN fetch ON made.folder = fetch.folder "
            "WHERE fetch.id = ? AND made.name IN (?, ?) AND made.maker IN (fetch.share, ?)",
            [self._number, name, "" if maybe_unnamed else name, follows],
        )
        done = None if row is None else row[0]
        return None if done == 0 else bool(done)

    def keep_sources(self, sources: Sequence[str]) -> None:
        """Saves which sources to ask next time."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE fetch SET sources = ? WHERE id = ?", [json.dumps(list(sources)), self._number])

    def forget(self) -> None:
        """Forgets the fetch, which is done."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM fetch WHERE id = ?", [self._number])
        with _recording(self._path):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the record, so that nothing can be added to it. Idempotent."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def as_value(folder: Path) -> str | bytes:
    """The path as the database stores it: as text, or as bytes if it is not UTF-8."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        return os.fsencode(folder)
    return str(folder)


@contextmanager
def _recording(path: Path) -> Iterator[None]:
    """Turns errors of the home's disk into StorageErrors."""
    try:
        yield
    except OSError as error:
        raise _unrecorded(error, path) from error


def _unrecorded(error: OSError, path: Path) -> StorageError:
    check = "Check the disk of this home."
    return StorageError(f"Cannot record in {path} what was fetched: {causes.explained(error, check)}")
