"""A recorded database with what schema 10 keeps besides: the folders that fetches have made, and for what.

It was written by `python -m tests.store.test_golden_made FOLDER`, and is never written anew.
"""

import shutil
import sys
from contextlib import closing
from pathlib import Path

from p2p.homes import DATABASE_FILE
from p2p.ids import ShareId
from p2p.store.database import Database
from p2p.store.fetches import Fetches
from tests.store.test_golden import GOLDEN, seal

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
    seal(database, folder, SCHEMA)


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
