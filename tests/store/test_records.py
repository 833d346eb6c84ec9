"""Records: what is believed of an earlier try. The two bitmaps, their damage, and the end of a fetch.

And the list of fetches: what is there after a kill, and how long it gets.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import get_args

import pytest

from p2p.core.shares import bitmap
from p2p.core.shares.fetch_states import State
from p2p.errors import StorageError
from p2p.ids import ShareId
from p2p.store import kept_fetches
from p2p.store.database import Database
from p2p.store.fetches import FETCH_FOLDER, Fetches, FetchRecord
from p2p.store.kept_fetches import KeptFetch, KeptFetches, new
from tests.support.constants import Shorten
from tests.support.small_shares import CHUNK, Share, noise

SHARE = ShareId(bytes(range(32)))
CHUNKS = 21
EVERYTHING = (1 << CHUNKS) - 1


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def begin(records: Fetches, out: Path, chunks: int = CHUNKS) -> FetchRecord:
    records.remember(SHARE, out)
    return records.begin(SHARE, out, chunks)


@contextmanager
def begun(records: Fetches, out: Path) -> Iterator[FetchRecord]:
    with closing(begin(records, out)) as record:
        yield record


def reboot(database: Database) -> None:
    """As if the machine had started anew since."""
    with database.transaction() as connection:
        connection.execute("UPDATE fetch SET boot = 'another'")


def have_file(home: Path) -> Path:
    (path,) = (home / FETCH_FOLDER).iterdir()
    return path


def test_what_was_added_is_believed_in_the_same_boot(records: Fetches, out: Path) -> None:
    with begun(records, out) as record:
        assert record.have == record.durable == 0
        for chunk in (0, 7, 8, 20):
            assert not record.has(chunk)
            record.add(chunk)
            assert record.has(chunk)
        expected = bitmap.of([(0, 1), (7, 2), (20, 1)])
        assert record.have == expected
    with begun(records, out) as record:
        assert (record.have, record.durable) == (expected, 0)
        assert record.has(20)


def test_a_run_is_added_like_its_chunks_one_by_one(records: Fetches, home: Path, out: Path) -> None:
    with begun(records, out) as record:
        expected = 0
        for first, count in [(3, 1), (6, 3), (0, 2), (9, 12), (5, 4)]:
            record.add(first, count)
            expected |= bitmap.span(first, count)
            assert record.have == expected
            assert bitmap.from_bytes(have_file(home).read_bytes()) == expected


def test_only_what_is_durable_is_believed_after_a_reboot(records: Fetches, database: Database, out: Path) -> None:
    with begun(records, out) as record:
        for chunk in range(6):
            record.add(chunk)
        record.keep_durable(0b101)
    reboot(database)
    with begun(records, out) as record:
        assert record.have == record.durable == 0b101
        record.add(9)
    # Of the bits before the reboot, none comes back with this boot's belief.
    with begun(records, out) as record:
        assert (record.have, record.durable) == (0b1000000101, 0b101)


def test_a_reboot_before_the_first_use_of_the_record(
    records: Fetches, database: Database, home: Path, out: Path
) -> None:
    with begun(records, out) as record:
        record.add(3)
    reboot(database)
    with begun(records, out):
        pass
    assert have_file(home).read_bytes() == bytes(3)


def test_a_file_left_over_from_another_fetch_of_the_same_number_is_not_believed(
    records: Fetches, home: Path, out: Path
) -> None:
    with begun(records, out) as record:
        record.add(1)
        path = have_file(home)
        kept = path.read_bytes()
        record.forget()
    # As a kill between the two steps of forgetting leaves it.
    path.write_bytes(kept)
    other = ShareId(bytes(32))
    records.remember(other, out)
    with closing(records.begin(other, out, CHUNKS)) as record:
        assert record.have == 0
        assert have_file(home) == path


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", 0b100),
        (b"\x81", 0b10000101),
        (b"\xff\xff\xff", EVERYTHING),
        (b"\x01\x00\x00\xff\xff", 0b101),
        (b"\x00\x00\xe0", 0b100),
    ],
    ids=["empty", "short", "padding set", "long", "only padding"],
)
def test_a_file_of_the_wrong_length_is_read_as_far_as_it_means_anything(
    records: Fetches, home: Path, out: Path, body: bytes, expected: int
) -> None:
    with begun(records, out) as record:
        record.add(2)
        record.keep_durable(0b100)
    have_file(home).write_bytes(body)
    with begun(records, out) as record:
        assert record.have == expected
        record.add(20)
        assert len(have_file(home).read_bytes()) == 3
    with begun(records, out) as record:
        assert record.have == expected | 1 << 20


def test_a_file_that_is_gone_leaves_what_is_durable(records: Fetches, home: Path, out: Path) -> None:
    with begun(records, out) as record:
        record.add(0)
        record.add(1)
        record.keep_durable(0b1)
    have_file(home).unlink()
    with begun(records, out) as record:
        assert record.have == 0b1


def test_a_durable_bitmap_of_the_wrong_length_is_cut(records: Fetches, database: Database, out: Path) -> None:
    with begun(records, out):
        pass
    with database.transaction() as connection:
        connection.execute("UPDATE fetch SET durable = ?", [b"\xff" * 9])
    with begun(records, out) as record:
        assert record.have == record.durable == EVERYTHING


def test_corrections_hold_for_both_bitmaps_and_after_a_restart(records: Fetches, database: Database, out: Path) -> None:
    with begun(records, out) as record:
        for chunk in range(4):
            record.add(chunk)
        record.keep_durable(0b1111)
        record.correct(there=0b110000, gone=0b11)
        assert (record.have, record.durable) == (0b111100, 0b1100)
        # Whoever synced before the correction cannot bring them back.
        record.keep_durable(0b1111)
        assert record.durable == 0b1100
    with begun(records, out) as record:
        assert record.have == 0b111100
    reboot(database)
    with begun(records, out) as record:
        assert record.have == 0b1100


def test_each_folder_has_a_record_of_its_own_and_sources_are_of_all(records: Fetches, tmp_path: Path) -> None:
    with closing(begin(records, tmp_path / "1")) as one, closing(begin(records, tmp_path / "2")) as two:
        one.add(1)
        one.keep_sources(["a", "b"])
        two.keep_sources(["c"])
        assert (one.have, two.have) == (0b10, 0)
        assert sorted(records.sources(SHARE)) == ["a", "b", "c"]
        one.forget()
        assert records.sources(SHARE) == ["c"]
    with closing(begin(records, tmp_path / "1")) as one:
        assert one.have == 0


def test_a_fetch_that_nobody_is_at_can_be_dropped(records: Fetches, home: Path, tmp_path: Path) -> None:
    for number, folder in enumerate((tmp_path / "1", tmp_path / "2")):
        with begun(records, folder) as record:
            record.add(number)
            record.keep_sources([folder.name])
    records.drop(SHARE, tmp_path / "1")
    records.drop(SHARE, tmp_path / "1")  # it is forgotten already
    assert records.sources(SHARE) == ["2"]
    assert len(list((home / FETCH_FOLDER).iterdir())) == 1
    with begun(records, tmp_path / "1") as again, begun(records, tmp_path / "2") as other:
        assert (again.have, other.have) == (0, 0b10)


def test_remembering_again_forgets_nothing(records: Fetches, out: Path) -> None:
    with begun(records, out) as record:
        record.add(5)
        record.keep_sources(["a"])
    records.remember(SHARE, out)
    assert records.sources(SHARE) == ["a"]
    with begun(records, out) as record:
        assert record.have == 1 << 5


def test_a_share_without_chunks_has_a_record_too(records: Fetches, out: Path) -> None:
    with closing(begin(records, out, 0)) as record:
        assert record.have == 0
        record.keep_durable(0)
        record.forget()


def test_threads_that_add_neighbours_lose_none(records: Fetches, home: Path, out: Path) -> None:
    chunks = 4000
    with closing(begin(records, out, chunks)) as record:

        def add(first: int) -> None:
            for chunk in range(first, chunks, 8):
                record.add(chunk)

        # Eight threads, one bit of each byte.
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(add, range(8)))) == 8
        assert record.have == (1 << chunks) - 1
        assert have_file(home).read_bytes() == b"\xff" * (chunks // 8)


def test_troubles_of_the_homes_disk_are_storage_errors(records: Fetches, home: Path, out: Path) -> None:
    (home / FETCH_FOLDER).write_bytes(b"in the way")
    with pytest.raises(StorageError, match="Check the disk of this home"):
        begin(records, out)
    (home / FETCH_FOLDER).unlink()
    with begun(records, out):
        pass
    path = have_file(home)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="Check the disk of this home"):
        begin(records, out)
    path.rmdir()
    record = begin(records, out)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError):
        record.forget()
    record.close()
    record.close()
    with pytest.raises(StorageError):
        record.add(0)
    assert record.have == 0
    assert not record.has(0)
    os.rmdir(path)


def test_after_a_reboot_only_what_was_synced_is_kept_of_a_fetch(
    records: Fetches, database: Database, out: Path
) -> None:
    share = Share({"a": noise(1, 3 * CHUNK), "b": b"b", "c": b"c"})
    target = share.open(records, out)
    for chunk in (0, 1, 3):
        share.write(target, chunk)
    target.settle([0, 1], [1])
    share.write(target, 2)
    share.write(target, 4)
    target.close()
    reboot(database)
    # What a power cut may do to bytes that were not synced.
    part = next((out / "share").glob("a.*.part"))
    with part.open("r+b") as file:
        file.seek(2 * CHUNK)
        file.write(bytes(CHUNK))
    target = share.open(records, out)
    assert target.record.have == 0b01011
    assert sorted(share.finish(target)) == [2, 4]
    target.close()
    assert share.in_place(out)


# The list of fetches.


@pytest.fixture
def store(database: Database) -> KeptFetches:
    return KeptFetches(database)


def fetch(number: int, *, of_node: bool = True) -> KeptFetch:
    return new(bytes([number]) * 32, {"link": "x"}, None, "data", of_node=of_node, background=True)._replace(
        created=float(number)
    )


def states(store: KeptFetches) -> list[State]:
    return [one.state for one in store.recover()]


def test_what_was_kept_is_there_again(store: KeptFetches) -> None:
    store.begin(fetch(2))
    one = fetch(1)
    store.begin(one)
    # JSON cannot hold this name as text, but disks can.
    name = os.fsdecode(b"caf\xe9")
    one = one._replace(
        request={"out": name}, state="failed", share=ShareId(b"s" * 32), name="other", size=5, done=3, outcome={"a": 1}
    )
    assert store.change(one) == []
    assert store.recover() == [one, fetch(2)]
    store.forget(one.id)
    assert store.recover() == [fetch(2)]


@pytest.mark.parametrize("of_node", [True, False])
def test_what_ran_when_its_peer_was_killed_waits_for_a_node_or_is_paused(store: KeptFetches, of_node: bool) -> None:
    for number, state in enumerate(get_args(State)):
        one = fetch(number, of_node=of_node)
        store.begin(one)
        store.change(one._replace(state=state))
    stopped = "waiting" if of_node else "paused"
    expected = [stopped, stopped, "paused", "failed", "done"]
    assert states(store) == expected
    assert states(store) == expected, "and once is enough"


def test_so_many_are_open_and_so_many_done_ones_are_remembered(store: KeptFetches, shorten: Shorten) -> None:
    shorten(kept_fetches, "MAX_OPEN", 2)
    shorten(kept_fetches, "MAX_DONE", 2)
    for number in (1, 2):
        store.begin(fetch(number))
    with pytest.raises(StorageError, match="2 fetches are not done"):
        store.begin(fetch(3))
    store.begin(fetch(2))  # which is there
    for number in (1, 2):
        assert store.change(fetch(number)._replace(state="done")) == []
    store.begin(fetch(3))
    assert store.change(fetch(3)._replace(state="done")) == [fetch(1).id]
    assert [one.id for one in store.recover()] == [fetch(2).id, fetch(3).id]
