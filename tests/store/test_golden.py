"""Recorded files: what earlier versions wrote, today's code reads.

They were written by `python -m tests.store.test_golden FOLDER`. A new version of the manifest or of the schema adds
files of its own; those that are there are never written anew.
"""

import json
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from p2p.core.shares import manifest as manifests
from p2p.core.shares.links import LINK, LinkEntry
from p2p.core.shares.manifest import MAX_TIME_NS, MIN_TIME_NS, Entry, EntryKind, ShareLimits, TimedEntry
from p2p.homes import DATABASE_FILE
from p2p.ids import ShareId, to_text
from p2p.store.database import Database
from p2p.store.fetches import FETCH_FOLDER, Fetches
from p2p.store.library import Library
from p2p.store.stamps import NOT_HELD, Stamp
from tests.support.small_shares import CHUNK, file_entry, folder_entry

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFEST, TIMED_MANIFEST, LINKED_MANIFEST = "manifest_1.json", "manifest_2.json", "manifest_3.json"
FIRST_SCHEMA, SCHEMA = "schema_1.db", "schema_6.db"

ENTRIES: list[Entry] = [
    file_entry("Bücher/two chunks", bytes(range(256)) * (CHUNK // 256) + b"and a bit"),
    file_entry("a.txt", b"hello, world\n"),
    folder_entry("nothing here"),
    file_entry("run.sh", b"#!/bin/sh\n", executable=True),
    file_entry("zero", b""),
]
TIMES = [1_700_000_000_123_456_789, 0, -1, MIN_TIME_NS, MAX_TIME_NS]
TIMED_ENTRIES = [
    TimedEntry(entry.kind, entry.path, entry.size, entry.executable, entry.hashes, modified_ns=time)
    for entry, time in zip(ENTRIES, TIMES, strict=True)
]
LINKS = [
    LinkEntry(LINK, ("Bücher", "up"), ("..", "a.txt")),
    LinkEntry(LINK, ("newest",), ("Bücher", "two chunks")),
]
FETCHED = ShareId(bytes(range(32)))
STAMPS = [Stamp(11, CHUNK + 9, 1_700_000_000_123_456_789), Stamp(12, 13, 5), NOT_HELD, Stamp(2**63, 10, 2**64 - 1)]
STAMPS.append(Stamp(14, 0, 6))
WITH_CTIMES = [stamp if stamp == NOT_HELD else stamp._replace(ctime_ns=2**64 - 1 - stamp.inode) for stamp in STAMPS]
DURABLE, CHUNKS, SOURCES = 0b1011, 10, ["peer@[2001:db8::1]:4001"]


def record(folder: Path) -> None:
    """Writes the files as today's code does."""
    made: list[tuple[str, Sequence[Entry], list[LinkEntry]]] = [
        (LINKED_MANIFEST, TIMED_ENTRIES, LINKS),
        (TIMED_MANIFEST, TIMED_ENTRIES, []),
        (MANIFEST, ENTRIES, []),
    ]
    for name, entries, links in made:
        root, parts = manifests.encode("golden", entries, single=False, links=links)
        share_id = manifests.share_id_of(root)
        text = {"share_id": share_id.hex(), "root": root.hex(), "parts": [part.hex() for part in parts]}
        (folder / name).write_text(json.dumps(text, indent=1) + "\n")
    database = Database(folder)
    library = Library(database, ShareLimits())
    library.add(share_id, root, parts, [Path("/home/somebody/golden")], WITH_CTIMES, unlisted=True, fetched=False)
    library.mark_stale(share_id, "a.txt changed")
    with database.transaction() as connection:
        connection.execute("UPDATE share SET created = 1700000000.5")
    records = Fetches(database, folder)
    records.remember(FETCHED, Path("/home/somebody/Downloads"))
    with closing(records.begin(FETCHED, Path("/home/somebody/Downloads"), CHUNKS)) as fetch:
        fetch.correct(there=DURABLE)
        fetch.keep_durable(DURABLE)
        fetch.keep_sources(SOURCES)
    seal(database, folder, SCHEMA)


def seal(database: Database, folder: Path, name: str) -> None:
    """Closes a database that was made to be recorded, as one file of this name, without what only this boot has."""
    with database.transaction() as connection:
        connection.execute("UPDATE fetch SET boot = 'long ago'")
    database.close()
    shutil.rmtree(folder / FETCH_FOLDER)
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
    (folder / DATABASE_FILE).rename(folder / name)


def recorded(name: str = MANIFEST) -> tuple[ShareId, bytes, list[bytes]]:
    text = json.loads((GOLDEN / name).read_text())
    return (
        ShareId(bytes.fromhex(text["share_id"])),
        bytes.fromhex(text["root"]),
        list(map(bytes.fromhex, text["parts"])),
    )


def test_a_recorded_manifest_is_read() -> None:
    share_id, body, parts = recorded()
    root = manifests.decode_root(share_id, body, ShareLimits())
    for index, part in enumerate(parts):
        manifests.check_part(root, index, part)
    manifest = manifests.decode(share_id, root, parts)
    assert manifest.entries == tuple(ENTRIES)
    assert (root.version, root.name, root.single, root.files, root.folders) == (1, "golden", False, 4, 1)
    assert (root.size, root.chunks) == (CHUNK + 9 + 13 + 10, 4)
    assert [entry.kind for entry in manifest.entries].count(EntryKind.FOLDER) == 1


def test_a_recorded_manifest_with_times_is_read_and_written() -> None:
    share_id, body, parts = recorded(TIMED_MANIFEST)
    root = manifests.decode_root(share_id, body, ShareLimits())
    for index, part in enumerate(parts):
        manifests.check_part(root, index, part)
    assert root.version == 2
    assert manifests.decode(share_id, root, parts).entries == tuple(TIMED_ENTRIES)
    assert manifests.encode("golden", reversed(TIMED_ENTRIES), single=False) == (body, parts)


def test_the_same_files_still_have_the_recorded_share_id() -> None:
    share_id, body, parts = recorded()
    assert to_text(share_id) == "vj3y6qqq3qasogxty3ptorf2bfsdbrb3qwvqulrwdtm6conylmbq"
    assert manifests.encode("golden", reversed(ENTRIES), single=False) == (body, parts)


@pytest.mark.parametrize(("schema", "stamps"), [(FIRST_SCHEMA, STAMPS), (SCHEMA, WITH_CTIMES)])
def test_a_recorded_database_is_read_and_written(home: Path, schema: str, stamps: list[Stamp]) -> None:
    shutil.copy(GOLDEN / schema, home / DATABASE_FILE)
    share_id, _, _ = recorded()
    with closing(Database(home)) as database:
        library, records = Library(database, ShareLimits()), Fetches(database, home)
        (row,) = library.shares()
        assert (row.id, row.name, row.size, row.files) == (share_id, "golden", CHUNK + 32, 4)
        assert row.paths == ("/home/somebody/golden",)
        assert (row.unlisted, row.fetched, row.created) == (True, False, 1700000000.5)
        assert row.stale == "a.txt changed"
        assert library.manifest(share_id).entries == tuple(ENTRIES)
        assert library.stamps(share_id) == stamps
        library.renew_stamps(share_id, WITH_CTIMES)
        assert library.stamps(share_id) == WITH_CTIMES
        assert records.sources(FETCHED) == SOURCES
        with closing(records.begin(FETCHED, Path("/home/somebody/Downloads"), CHUNKS)) as fetch:
            assert fetch.have == fetch.durable == DURABLE
            fetch.add(2)
            fetch.forget()
        library.remove(share_id)
        assert library.shares() == []
        assert records.sources(FETCHED) == []


if __name__ == "__main__":
    record(Path(sys.argv[1]))
