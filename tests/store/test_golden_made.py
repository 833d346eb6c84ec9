"""A recorded database with what schema 10 keeps besides: the folders that fetches have made, and for what.

It was written by `python -m tests.store.test_golden_made FOLDER`, and is never written anew.
"""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from p2p.ids import ShareId
from p2p.store.database import DATABASE_FILE, Database
from p2p.store.fetches import FETCH_FOLDER, Fetches
from tests.store.test_golden import GOLDEN

SCHEMA = "schema_10.db"
OUT = Path("/home/somebody/Downloads")
SHARE, OTHER = ShareId(bytes(range(32))), ShareId(bytes(32))
LINK = bytes(range(100, 132)) + "néws".encode()


def record(folder: Path) -> None:
    """Writes a database with what schema 10 has more."""
    database = Database(folder)
    records = Fetches(database, folder)
    records.remember(SHARE, OUT)
    with closing(records.begin(SHARE, OUT, 1)) as fetch:
        fetch.begin_top("news", LINK)
        fetch.keep_top("news", LINK, is_new=True)
        fetch.begin_top("begun", b"")
    with database.transaction() as connection:
        connection.execute("UPDATE fetch SET boot = 'long ago'")
    database.close()
    shutil.rmtree(folder / FETCH_FOLDER)
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
    (folder / DATABASE_FILE).rename(folder / SCHEMA)


def test_a_recorded_database_knows_what_was_made_for_what(home: Path) -> None:
    shutil.copy(GOLDEN / SCHEMA, home / DATABASE_FILE)
    with closing(Database(home)) as database:
        records = Fetches(database, home)
        records.remember(OTHER, OUT)
        with closing(records.begin(SHARE, OUT, 1)) as fetch, closing(records.begin(OTHER, OUT, 1)) as other:
            assert (fetch.has_made("news", b""), other.has_made("news", LINK)) == (True, True)
            assert (fetch.has_made("begun", b""), fetch.has_made("else", LINK)) == (None, False)
            assert (other.has_made("news", b""), other.has_made("begun", LINK)) == (False, False)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
