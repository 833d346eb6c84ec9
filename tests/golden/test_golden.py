"""The recorded files, read by hand as their formats are documented: today's code finds in them what really is there.

`tests/store/test_golden.py` has what was recorded; here no code of ours is asked what the bytes mean.
"""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from p2p.core.shares import manifest as manifests
from p2p.core.shares.manifest import ShareLimits
from p2p.errors import BadData
from p2p.homes import DATABASE_FILE
from p2p.ids import ShareId
from p2p.store.database import Database
from p2p.store.library import Library

GOLDEN = Path(__file__).parent
TABLES = ("manifest", "part", "share", "fetch")
DIGESTS = {
    "answers_commands.json": "4d46105ed81678bb3cc701383317c4aec6f34d3c06f1bcb1b80430f74a4ef5f9",
    "answers_control.json": "4b35858dc60065a76804f84bfeb34558833a423caf77b83e778fb69f5791b7db",
    "beacons.json": "e9ae136b7f556b930b01c0868b269bf132e43585b7952c9f22dbc6caf6702e4f",
    "datagrams.json": "756b5b754cfe814285100dc09af98802fddfa86136c7cf0e7e0cce6ea825b327",
    "frames.json": "b6874342219956dd7a4b7b8cd6e203747e2ac47d1b36791e4906d6453dbd1178",
    "home_4.tar.xz": "14c6dd2a734bc3b5554306f25884488e5140addc2eb5ef63233dbbc8aed15540",
    "kept.json": "fe6f3a1ab5a64d0bdeaa157c64c33d51f4dacf6a111fb9f2d494e4c480ed950e",
    "links.json": "347c776cade8b55f55dc8964bf61a125d7417f792e900e03da528f364568a830",
    "manifest_1.json": "690170f0fddaffc0d47e5b16aa160ee0c38ca3e3720d09a09ac79043efc1ac86",
    "manifest_2.json": "0b58821f664d6d3a0b274c5d64ec08c2377a8acf2b5ca499f79ac688c473e25a",
    "manifest_3.json": "175d632b582fa2be0dea2da0e97bba64a78d7f225d692fcab63d7a5725654dcc",
    "messages_cluster.json": "3e9450660e3882297eec6e7cf782a5bf4ebd99c9bcdb631e6f15c07125eb4acd",
    "messages_connection.json": "0b1f0e16030d3469cac329e8d037e827d257b8e1d8208d12ec6d6c25a57d3c2f",
    "messages_guest.json": "45f69bf4f7005dd15a8f88b6cf9644c34de5d5aa4e3a152b81cea8c94f91373d",
    "messages_jobs.json": "c888d3348365b39ea29571851ce8e1a55b3d07088d84122ba0631fd85054303c",
    "messages_tracker.json": "84c97f9fef324e37e4c370beb13f20eb63c1db8dcfc41d7ba7e791de775318de",
    "messages_worker.json": "be8c45a117a8eaff8f754f977fc4f15ed37d83064edfa4182f892df399a877a2",
    "records.json": "8db187dc30b4cdd45d2be3f8415ff9ffff254ee6c729cff18452ed32355d9f00",
    "requests.json": "5e79c67174c5b400cb614a5a177d6fbecba7fe7666df1d3a63eb147b8a0b6b30",
    "schema_1.db": "0b3c37750ece4125d95cfbf15e2988d0003c3bcc8de58b68c407888d2c768796",
    "schema_10.db": "c0463ebb23e04d8e6e539bae235bb97142ab304d005dfaf9b7f9dca3c333326c",
    "schema_8.db": "6ea51fce11221e3fb2e27d9d1d4655a71bc1791b703874bbd533875582709bc4",
    "schema_6.db": "1c44a4e82a5c58a15e2c9036f7444dda2b45fc28dd235cfc13e8836a7fe6af07",
    "tracker_1.db.xz": "83705d0debc0b811703878565896e87d2c0157df53aed61b55f0f8d29bdfda95",
}


def recorded(name: str = "manifest_1.json") -> tuple[bytes, bytes, list[bytes]]:
    text = json.loads((GOLDEN / name).read_text())
    return bytes.fromhex(text["share_id"]), bytes.fromhex(text["root"]), list(map(bytes.fromhex, text["parts"]))


def entries_by_hand(parts: list[bytes]) -> list[list[Any]]:
    stream, entries = b"".join(parts), []
    while stream:
        end = 4 + int.from_bytes(stream[:4], "big")
        entries.append(msgspec.msgpack.decode(stream[4:end]))
        stream = stream[end:]
    return entries


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES}


@pytest.mark.parametrize("name", DIGESTS)
def test_what_was_recorded_is_never_recorded_anew(name: str) -> None:
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == DIGESTS[name]


def test_every_recorded_file_is_guarded() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.suffix not in {".py", ""}} == set(DIGESTS)


def test_the_share_id_and_part_hashes_are_the_documented_ones() -> None:
    share_id, body, parts = recorded()
    assert blake3(body, derive_key_context="shoal manifest 1").digest() == share_id
    root = msgspec.msgpack.decode(body)
    assert root["parts"] == b"".join(blake3(part, derive_key_context="shoal part 1").digest() for part in parts)
    assert root["length"] == sum(map(len, parts))


def test_the_entries_are_those_read_by_hand() -> None:
    share_id, body, parts = recorded()
    root = manifests.decode_root(ShareId(share_id), body, ShareLimits())
    entries = manifests.decode(ShareId(share_id), root, parts).entries
    by_hand = entries_by_hand(parts)
    assert [[e.kind.value, list(e.path), e.size, e.executable, e.hashes] for e in entries] == by_hand
    assert [path for _, path, *_ in by_hand] == sorted(path for _, path, *_ in by_hand)


def test_the_times_are_those_read_by_hand() -> None:
    share_id, body, parts = recorded("manifest_2.json")
    assert blake3(body, derive_key_context="shoal manifest 1").digest() == share_id
    by_hand = entries_by_hand(parts)
    assert [entry[:5] for entry in by_hand] == entries_by_hand(recorded()[2])
    assert [entry[5:] for entry in by_hand] == [[1_700_000_000_123_456_789], [0], [-1], [-(2**63)], [2**63 - 1]]
    root = msgspec.msgpack.decode(body)
    assert root == msgspec.msgpack.decode(recorded()[1]) | {
        "version": 2,
        "length": sum(map(len, parts)),
        "parts": blake3(parts[0], derive_key_context="shoal part 1").digest(),
    }


def test_the_links_are_those_read_by_hand() -> None:
    share_id, body, parts = recorded("manifest_3.json")
    assert blake3(body, derive_key_context="shoal manifest 1").digest() == share_id
    by_hand = entries_by_hand(parts)
    assert by_hand[:-2] == entries_by_hand(recorded("manifest_2.json")[2])
    assert by_hand[-2:] == [[2, ["Bücher", "up"], ["..", "a.txt"]], [2, ["newest"], ["Bücher", "two chunks"]]]
    assert msgspec.msgpack.decode(body) == msgspec.msgpack.decode(recorded()[1]) | {
        "version": 3,
        "length": sum(map(len, parts)),
        "parts": blake3(parts[0], derive_key_context="shoal part 1").digest(),
        "links": 2,
        "times": True,
    }
    root = manifests.decode_root(ShareId(share_id), body, ShareLimits())
    manifest = manifests.decode(ShareId(share_id), root, parts)
    assert [[link.kind, list(link.path), list(link.target)] for link in manifest.links] == by_hand[-2:]


def test_every_changed_byte_is_noticed() -> None:
    share_id, body, parts = recorded()
    root = manifests.decode_root(ShareId(share_id), body, ShareLimits())
    for at in range(len(body)):
        with pytest.raises(BadData):
            manifests.decode_root(ShareId(share_id), flipped(body, at), ShareLimits())
    for number, part in enumerate(parts):
        for at in range(len(part)):
            with pytest.raises(BadData):
                manifests.check_part(root, number, flipped(part, at))


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def test_opening_the_recorded_database_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_FILE
    shutil.copy(GOLDEN / "schema_1.db", path)
    before = rows(path)
    assert [len(before[table]) for table in TABLES] == [1, 1, 1, 1]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    with closing(Database(tmp_path)) as database:
        (share,) = Library(database, ShareLimits()).shares()
        assert share.id == recorded()[0]
    after = rows(path)
    for table, kept in before.items():
        # A later version may give a table more columns.
        assert [row[: len(old)] for row, old in zip(after[table], kept, strict=True)] == kept
