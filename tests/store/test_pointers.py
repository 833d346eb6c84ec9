"""Pointers and versions: the newest stands, whoever sent it, and what others publish takes only so much room."""

from pathlib import Path

import msgspec
import pytest

from p2p.identity import Identity
from p2p.ids import ShareId
from p2p.store import pointers as module
from p2p.store.database import Database
from p2p.store.pointers import Pointers, Version
from p2p.store.stamps import Stamp
from p2p.wire import records
from p2p.wire.records import Pointer, Record, pointer_key
from p2p.wire.signatures import SIGNATURE_BYTES, record_before
from tests.support.constants import Shorten

NETWORK = "main"
NOW = 1_800_000_000
ME, OTHER = Identity.generate(), Identity.generate()


def record(sequence: int, name: str = "photos", by: Identity = OTHER, share: int = 1) -> Record:
    return records.seal(
        by,
        NETWORK,
        pointer_key(by.peer_id, name),
        Pointer(name, bytes([share]) * 32),
        sequence=sequence,
        now=NOW,
        lasts_s=3600,
    )


@pytest.fixture
def pointers(database: Database) -> Pointers:
    return Pointers(database, NETWORK)


def test_the_highest_sequence_stands(pointers: Pointers) -> None:
    assert pointers.saw(record(5), ME.peer_id)
    assert not pointers.saw(record(4, share=2), ME.peer_id)
    assert pointers.newest(OTHER.peer_id, "photos") == record(5)
    assert pointers.saw(record(6, share=3), ME.peer_id)
    assert pointers.newest(OTHER.peer_id, "photos") == record(6, share=3)


def test_names_and_publishers_are_apart(pointers: Pointers) -> None:
    pointers.saw(record(5), ME.peer_id)
    assert pointers.newest(ME.peer_id, "photos") is None
    assert pointers.newest(OTHER.peer_id, "music") is None
    pointers.saw(record(1, "music"), ME.peer_id)
    assert pointers.of(OTHER.peer_id) == [record(1, "music"), record(5)]


def test_it_is_known_long_after_it_has_expired(pointers: Pointers) -> None:
    """An older one is not to be believed because the newest is over."""
    pointers.saw(record(5), ME.peer_id)
    kept = pointers.newest(OTHER.peer_id, "photos")
    assert kept is not None
    assert kept.expires < NOW + 10**6


def test_those_of_others_are_bounded_and_the_own_ones_stay(pointers: Pointers, shorten: Shorten) -> None:
    shorten(module, "MAX_FOREIGN", 3)
    for number in range(6):
        pointers.saw(record(1, f"own {number}", by=ME), ME.peer_id)
    for number in range(10):
        pointers.saw(record(1, f"name {number}"), ME.peer_id)
    assert len(pointers.of(OTHER.peer_id)) == 3
    assert len(pointers.of(ME.peer_id)) == 6


def test_versions_are_by_folder(pointers: Pointers, tmp_path: Path) -> None:
    stamps = [Stamp(1, 2, 3), Stamp(4, 5, 6)]
    first = Version(ShareId(bytes(32)), stamps, {("photos", "a?"): "a_"})
    pointers.keep_version(OTHER.peer_id, "photos", tmp_path, first)
    assert pointers.version(OTHER.peer_id, "photos", tmp_path) == first
    assert pointers.version(OTHER.peer_id, "photos", tmp_path / "other") is None
    second = Version(ShareId(b"x" * 32), [], {})
    pointers.keep_version(OTHER.peer_id, "photos", tmp_path, second)
    assert pointers.version(OTHER.peer_id, "photos", tmp_path) == second


def test_what_is_followed_is_what_was_fetched(pointers: Pointers, tmp_path: Path) -> None:
    pointers.saw(record(5), ME.peer_id)
    pointers.saw(record(7, "music"), ME.peer_id)
    assert pointers.followed() == []
    for folder in (tmp_path, tmp_path / "other"):
        pointers.keep_version(OTHER.peer_id, "music", folder, Version(ShareId(bytes(32)), [], {}))
    assert pointers.followed() == [record(7, "music")]


def test_a_record_signed_before_this_network_was_part_of_it_is_known_but_not_to_be_sent(
    pointers: Pointers, database: Database
) -> None:
    made = record(5)
    body = made.raw[SIGNATURE_BYTES:]
    before = msgspec.structs.replace(made, raw=OTHER.sign(record_before(body)) + body)
    pointers.saw(before, ME.peer_id)
    assert pointers.newest(OTHER.peer_id, "photos") == msgspec.structs.replace(before, network=None)
    elsewhere = Pointers(database, "another")
    pointers.saw(record(6), ME.peer_id)
    assert elsewhere.newest(OTHER.peer_id, "photos") is None
