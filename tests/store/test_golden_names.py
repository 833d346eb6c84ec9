"""A recorded database with what schema 8 keeps besides: names on the disk, patterns, and shares that do not last.

It was written by `python -m tests.store.test_golden_names FOLDER`, and is never written anew.
"""

import shutil
import sys
from contextlib import closing
from pathlib import Path

from p2p.core.shares import manifest as manifests
from p2p.core.shares.manifest import ShareLimits
from p2p.homes import DATABASE_FILE
from p2p.ids import PeerId
from p2p.store.database import Database
from p2p.store.fetches import Fetches
from p2p.store.library import Library
from p2p.store.pointers import Pointers, Version
from tests.store.test_golden import CHUNKS, ENTRIES, GOLDEN, WITH_CTIMES, recorded, seal

SCHEMA = "schema_8.db"
EXCLUDE = ("*.tmp", "/cache/")
NAMES = {("golden",): "golden_", ("golden", "a.txt"): "a (newest).txt"}
PUBLISHER = PeerId(bytes(range(32)))


def record(folder: Path) -> None:
    """Writes a database with what schema 8 has more: names on the disk, patterns, and shares that do not last."""
    root, parts = manifests.encode("golden", ENTRIES, single=False)
    share_id = manifests.share_id_of(root)
    database = Database(folder)
    library, records, pointers = Library(database, ShareLimits()), Fetches(database, folder), Pointers(database, "main")
    library.add(
        share_id,
        root,
        parts,
        [Path("/home/somebody/golden")],
        WITH_CTIMES,
        unlisted=True,
        fetched=False,
        exclude=EXCLUDE,
        names=NAMES,
        lasts=False,
    )
    records.remember(share_id, Path("/home/somebody/Downloads"))
    with closing(records.begin(share_id, Path("/home/somebody/Downloads"), CHUNKS)) as fetch:
        fetch.keep_names(NAMES)
    pointers.keep_version(PUBLISHER, "news", Path("/home/somebody"), Version(share_id, WITH_CTIMES, NAMES))
    with database.transaction() as connection:
        connection.execute("UPDATE share SET created = 1700000000.5")
    seal(database, folder, SCHEMA)


def test_a_recorded_database_keeps_names_patterns_and_what_does_not_last(home: Path) -> None:
    shutil.copy(GOLDEN / SCHEMA, home / DATABASE_FILE)
    share_id, _, _ = recorded()
    with closing(Database(home)) as database:
        library, records, pointers = (
            Library(database, ShareLimits()),
            Fetches(database, home),
            Pointers(database, "main"),
        )
        (row,) = library.shares()
        assert (row.id, row.lasts) == (share_id, False)
        assert (library.exclude(share_id), library.names(share_id)) == (EXCLUDE, NAMES)
        with closing(records.begin(share_id, Path("/home/somebody/Downloads"), CHUNKS)) as fetch:
            assert fetch.names == NAMES
        version = pointers.version(PUBLISHER, "news", Path("/home/somebody"))
        assert version is not None
        assert version == (share_id, WITH_CTIMES, NAMES)
        library.end_passing()
        assert library.shares() == []
        assert not library.tells_of(share_id)
        assert library.find_by_paths([Path("/home/somebody/golden")]) == share_id


if __name__ == "__main__":
    record(Path(sys.argv[1]))
