"""The database: migrations, foreign and damaged files, transactions."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2p.errors import StorageError
from p2p.homes import DATABASE_FILE
from p2p.store import database as module
from p2p.store.database import Database
from tests.support.constants import Shorten

INSERT = "INSERT INTO manifest VALUES (?, ?)"


def count(database: Database) -> int:
    return len(database.rows("SELECT share FROM manifest"))


def test_a_new_database_has_the_newest_schema(database: Database) -> None:
    assert database.row("PRAGMA user_version") == (13,)
    tables = {name for (name,) in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {
        "manifest",
        "part",
        "share",
        "fetch",
        "made",
        "publication",
        "pointer",
        "version",
        "job",
        "job_unit",
        "job_skip",
    } <= tables
    assert database.row("PRAGMA journal_mode") == ("wal",)


def test_what_was_written_is_there_after_reopening(home: Path) -> None:
    first = Database(home)
    with first.transaction() as connection:
        connection.execute(INSERT, [b"a", b"root"])
    first.close()
    second = Database(home)
    assert second.rows("SELECT * FROM manifest") == [(b"a", b"root")]
    assert second.row("SELECT * FROM manifest WHERE share = ?", [b"b"]) is None
    second.close()


def test_closing_twice_is_fine_and_use_after_it_a_storage_error(home: Path) -> None:
    database = Database(home)
    database.close()
    database.close()
    with pytest.raises(StorageError):
        database.rows("SELECT 1")


def test_a_newer_database_is_refused_and_left_as_it_is(home: Path) -> None:
    path = home / DATABASE_FILE
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE future (secret)")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"newer Shoal \(schema 99"):
        Database(home)
    assert path.read_bytes() == before
    assert os.listdir(home) == [DATABASE_FILE]


def test_a_migration_that_fails_leaves_nothing_half_done(home: Path) -> None:
    path = home / DATABASE_FILE
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE share (in_the_way)")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="already exists"):
        Database(home)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("share",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"this is no database, but it is long enough to be one" * 100,
        lambda body: body[:100],
        lambda body: body[: len(body) // 2],
        lambda body: body[:100] + b"\xff" * (len(body) - 100),
    ],
    ids=["text", "header", "half", "overwritten"],
)
def test_a_damaged_file_is_a_storage_error(home: Path, damage: Callable[[bytes], bytes]) -> None:
    path = home / DATABASE_FILE
    database = Database(home)
    with database.transaction() as connection:
        connection.executemany(INSERT, [(b"%d" % number, b"x" * 3000) for number in range(50)])
    database.close()
    path.write_bytes(damage(path.read_bytes()))

    def use() -> None:
        damaged = Database(home)
        try:
            damaged.rows("SELECT * FROM manifest")
        finally:
            damaged.close()

    with pytest.raises(StorageError, match="cannot be used"):
        use()


def test_a_home_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Database(tmp_path / "nowhere")


def test_a_folder_in_place_of_the_database_is_a_storage_error(home: Path) -> None:
    (home / DATABASE_FILE).mkdir()
    with pytest.raises(StorageError):
        Database(home)


def test_an_error_in_a_transaction_undoes_all_of_it(database: Database) -> None:
    def fail(error: Exception) -> None:
        with database.transaction() as connection:
            connection.execute(INSERT, [b"a", b""])
            raise error

    with pytest.raises(KeyError):
        fail(KeyError("ours"))
    with pytest.raises(StorageError):
        fail(sqlite3.OperationalError("its"))
    assert count(database) == 0


def test_a_statement_that_fails_undoes_those_before_it(database: Database) -> None:
    def twice() -> None:
        with database.transaction() as connection:
            connection.execute(INSERT, [b"a", b""])
            connection.execute(INSERT, [b"a", b""])

    with pytest.raises(StorageError, match="UNIQUE"):
        twice()
    assert count(database) == 0
    with database.transaction() as connection:
        connection.execute(INSERT, [b"a", b""])
    assert count(database) == 1


def test_a_transaction_that_has_ended_itself_is_explained_and_over(database: Database) -> None:
    # As SQLite does by itself after some errors.
    def fail() -> None:
        with database.transaction() as connection:
            connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(StorageError, match="disk is full"):
        fail()
    with database.transaction() as connection:
        connection.execute(INSERT, [b"a", b""])


def test_a_commit_that_fails_is_undone_and_the_next_transaction_works(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("PRAGMA defer_foreign_keys = ON")
    database.rows("PRAGMA foreign_keys = ON")
    with database.transaction() as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED)")

    def orphan() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO b VALUES (7)")

    with pytest.raises(StorageError, match="FOREIGN KEY"):
        orphan()
    assert database.rows("SELECT * FROM b") == []
    with database.transaction() as connection:
        connection.execute("INSERT INTO a VALUES (7)")
    assert database.rows("SELECT * FROM a") == [(7,)]


def test_a_full_disk_is_explained_and_the_database_works_once_there_is_room(small_disk: Callable[[int], Path]) -> None:
    home = small_disk(2 * 1024 * 1024)
    database = Database(home)
    ballast = home / "ballast"
    try:
        with database.transaction() as connection:
            connection.execute(INSERT, [b"before", b""])
        usage = shutil.disk_usage(home)
        ballast.write_bytes(bytes(usage.free - 64 * 1024))

        def fill() -> None:
            with database.transaction() as connection:
                connection.executemany(INSERT, [(b"%d" % number, bytes(8000)) for number in range(100)])

        for _ in range(3):
            with pytest.raises(StorageError, match="full"):
                fill()
        ballast.unlink()
        assert count(database) == 1
        fill()
        assert count(database) == 101
    finally:
        database.close()


def test_threads_take_turns(database: Database) -> None:
    def work(worker: int) -> None:
        for number in range(50):
            with database.transaction() as connection:
                (before,) = connection.execute("SELECT count(*) FROM manifest").fetchone()
                connection.execute(INSERT, [b"%d/%d" % (worker, number), b""])
                (after,) = connection.execute("SELECT count(*) FROM manifest").fetchone()
            assert after == before + 1
            assert database.row("SELECT share FROM manifest WHERE share = ?", [b"%d/%d" % (worker, number)])

    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(work, range(6)))) == 6
    assert count(database) == 300


def test_a_second_process_waits_its_turn(home: Path, database: Database) -> None:
    other = Database(home)
    with other.transaction() as connection:
        connection.execute(INSERT, [b"a", b""])
    with database.transaction() as connection:
        connection.execute(INSERT, [b"b", b""])
    other.close()
    assert count(database) == 2


def test_errors_come_with_advice_that_fits(home: Path, shorten: Shorten) -> None:
    shorten(module, "BUSY_TIMEOUT_S", 0.01)
    database = Database(home)
    file = home / DATABASE_FILE

    def write(number: int) -> None:
        with database.transaction() as connection:
            connection.execute(INSERT, [number.to_bytes(4), bytes(100_000)])

    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"is locked\. Another program has locked it"):
            write(0)
    database.rows("PRAGMA query_only = 1")
    with pytest.raises(StorageError, match=r"readonly database\. This user must be able to write to it"):
        write(1)
    database.rows("PRAGMA query_only = 0")
    (pages,) = database.row("PRAGMA page_count") or (0,)
    database.rows(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StorageError, match=r"disk is full\. Make room on that disk"):
        write(2)
    database.close()
    file.write_bytes(b"SQLite format 4\0" + bytes(5000))
    with pytest.raises(StorageError, match=r"The file is damaged: move it away .shares must then be shared again"):
        Database(home)
