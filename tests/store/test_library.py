"""The library: shares and their manifests, and files served in place."""

import os
from pathlib import Path

import pytest

from p2p.core.shares import bitmap
from p2p.core.shares import manifest as manifests
from p2p.core.shares.manifest import ShareLimits
from p2p.errors import BadData, NotFound, ShoalError
from p2p.ids import ShareId
from p2p.store.database import Database
from p2p.store.fetches import Fetches
from p2p.store.library import Library, SharedFiles, entry_path
from p2p.store.stamps import NOT_HELD, Stamp, Stamps, pack_stamps
from tests.support.small_shares import CHUNK, Share, noise

FILES: dict[str, bytes | None] = {
    "a.txt": b"first",
    "deep/b.bin": noise(1, 2 * CHUNK + 5),
    "empty": b"",
    "nothing": None,
}


def put(
    library: Library, share: Share, top: Path, *, fetched: bool = False, stamps: list[Stamp] | None = None
) -> ShareId:
    """Writes the share's files beneath `top` and shares them."""
    if stamps is None:
        stamps = []
        for entry in share.manifest.entries:
            path = top.joinpath(*entry.path)
            data = share.files["/".join(entry.path)]
            if data is None:
                path.mkdir(parents=True, exist_ok=True)
                stamps.append(NOT_HELD)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                stamps.append(Stamp.of(path.stat()))
    root, parts = manifests.encode(share.name, share.manifest.entries, single=share.single)
    share_id = share.manifest.share_id
    paths = [top / share.manifest.entries[0].path[0]] if share.single else [top]
    library.add(share_id, root, parts, paths, stamps, unlisted=False, fetched=fetched)
    return share_id


def test_a_share_comes_back_as_it_was_added(library: Library, tmp_path: Path) -> None:
    share = Share(FILES)
    share_id = put(library, share, tmp_path / "top")
    assert library.manifest(share_id) == share.manifest
    row = library.share(share_id)
    assert row is not None
    assert (row.id, row.name, row.size, row.files) == (share_id, "share", 5 + 2 * CHUNK + 5, 3)
    assert row.paths == (str(tmp_path / "top"),)
    assert (row.unlisted, row.fetched, row.stale) == (False, False, None)
    assert library.shares() == [row]
    assert library.find_by_paths([tmp_path / "top"]) == share_id
    assert library.find_by_paths([tmp_path]) is None
    assert library.parts_held(share_id) == {0}
    assert library.part(share_id, 1) is None


def test_a_share_of_the_same_paths_replaces_the_older_one(library: Library, tmp_path: Path) -> None:
    old = put(library, Share({"a": b"old"}), tmp_path)
    new = put(library, Share({"a": b"new"}), tmp_path)
    assert old != new
    assert [row.id for row in library.shares()] == [new]
    assert library.root(old) is None
    assert library.parts_held(old) == set()
    assert put(library, Share({"a": b"new"}), tmp_path) == new
    assert len(library.shares()) == 1


def test_a_fetched_share_of_the_same_path_stays(library: Library, tmp_path: Path) -> None:
    fetched = put(library, Share({"a": b"fetched"}), tmp_path, fetched=True)
    own = put(library, Share({"a": b"own"}), tmp_path)
    assert {row.id for row in library.shares()} == {fetched, own}
    assert library.find_by_paths([tmp_path]) == own


def test_removing_forgets_the_manifest_but_not_one_that_is_being_fetched(
    library: Library, records: Fetches, tmp_path: Path
) -> None:
    one = put(library, Share({"a": b"1"}), tmp_path / "1")
    two = put(library, Share({"a": b"2"}), tmp_path / "2")
    records.remember(two, tmp_path / "out")
    library.remove(one)
    library.remove(two)
    assert library.shares() == []
    assert library.root(one) is None
    with pytest.raises(NotFound):
        library.manifest(one)
    assert library.manifest(two).share_id == two
    with pytest.raises(NotFound):
        library.remove(one)
    assert (tmp_path / "1/a").read_bytes() == b"1"


def test_a_manifest_arrives_piece_by_piece(
    library: Library, database: Database, records: Fetches, tmp_path: Path
) -> None:
    share = Share({f"{number:04}": b"%d" % number for number in range(6000)})
    root, parts = manifests.encode(share.name, share.manifest.entries, single=False)
    share_id = share.manifest.share_id
    assert len(parts) > 1
    records.remember(share_id, tmp_path)
    with pytest.raises(NotFound):
        library.manifest(share_id)
    library.keep_root(share_id, root)
    library.keep_root(share_id, root)
    for number in range(len(parts) - 1, -1, -1):
        with pytest.raises(NotFound):
            library.manifest(share_id)
        library.keep_parts(share_id, {number: parts[number]})
    assert library.manifest(share_id) == share.manifest
    assert library.parts_held(share_id) == set(range(len(parts)))


def test_a_manifest_that_was_damaged_on_disk_is_bad_data(library: Library, database: Database, tmp_path: Path) -> None:
    share_id = put(library, Share(FILES), tmp_path)
    with database.transaction() as connection:
        connection.execute("UPDATE part SET body = x'00000001c1'")
    with pytest.raises(BadData):
        library.manifest(share_id)
    with database.transaction() as connection:
        connection.execute("UPDATE manifest SET root = x'80'")
    with pytest.raises(BadData):
        library.manifest(share_id)


def test_a_share_beyond_the_limits_is_refused_whole(database: Database, tmp_path: Path) -> None:
    small = Library(database, ShareLimits(entries=1))
    with pytest.raises(ShoalError):
        put(small, Share({"a": b"1", "b": b"2"}), tmp_path)
    assert small.shares() == []


def test_stamps_survive_packing() -> None:
    stamps = [NOT_HELD, Stamp(1, 2, 3), Stamp(2**64 - 1, 2**63, 2**64 - 1)]
    assert Stamps.unpack(pack_stamps(stamps)) == stamps
    assert Stamps.unpack(b"") == []


def test_a_stamp_before_1970_can_be_kept(library: Library, tmp_path: Path) -> None:
    share = Share({"a": b"1"})
    path = tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, ns=(-(10**18), -(10**18)))
    stamp = Stamp.of(path.stat())
    share_id = put(library, share, tmp_path, stamps=[stamp])
    assert library.stamps(share_id) == [stamp]
    with SharedFiles(library, share_id).reading(0) as (descriptor, expected):
        assert Stamp.of(os.fstat(descriptor)) == expected


def test_a_stale_share_says_so_and_no_longer_once_shared_again(library: Library, tmp_path: Path) -> None:
    share_id = put(library, Share({"a": b"1"}), tmp_path)
    library.mark_stale(share_id, "it changed")
    assert [row.stale for row in library.shares()] == ["it changed"]
    put(library, Share({"a": b"1"}), tmp_path)
    assert [row.stale for row in library.shares()] == [None]


def test_shared_files_are_read_in_place(library: Library, tmp_path: Path) -> None:
    share = Share(FILES)
    files = SharedFiles(library, put(library, share, tmp_path))
    assert files.held == share.layout.everything
    for chunk in range(share.layout.chunks):
        place = share.layout.place(chunk)
        with files.reading(place.entry) as (descriptor, stamp):
            assert os.pread(descriptor, place.size, place.offset) == share.chunk(chunk)
            assert stamp == Stamp.of(os.fstat(descriptor))


def test_a_single_file_is_read_in_place_whatever_the_share_is_called(library: Library, tmp_path: Path) -> None:
    share = Share({"a.bin": b"alone"}, name="another name", single=True)
    files = SharedFiles(library, put(library, share, tmp_path))
    with files.reading(0) as (descriptor, _):
        assert os.read(descriptor, 10) == b"alone"


def test_of_several_paths_each_entry_is_found_beneath_its_own(tmp_path: Path) -> None:
    share = Share({"one/a": b"1", "two": b"2"})
    paths = [str(tmp_path / "x/one"), str(tmp_path / "y/two")]
    assert [entry_path(paths, share.layout, entry) for entry in (0, 1)] == [
        tmp_path / "x/one/a",
        tmp_path / "y/two",
    ]
    with pytest.raises(ShoalError):
        entry_path(paths[:1] * 2, share.layout, 1)


def test_only_what_is_held_is_offered(library: Library, tmp_path: Path) -> None:
    share = Share({"a": b"1", "b": b"2"})
    held = Stamp(5, 1, 5)
    files = SharedFiles(library, put(library, share, tmp_path, stamps=[NOT_HELD, held]))
    assert files.held == 0b10


def test_a_changed_file_is_not_offered_any_more_and_the_share_is_stale(library: Library, tmp_path: Path) -> None:
    share = Share(FILES)
    share_id = put(library, share, tmp_path)
    files = SharedFiles(library, share_id)
    entry = share.entry_of("deep/b.bin")
    chunks = bitmap.span(*share.layout.range_of(entry))
    os.utime(tmp_path / "deep" / "b.bin", (1, 1))
    assert files.changed(entry) == chunks
    assert files.held == share.layout.everything & ~chunks
    (row,) = library.shares()
    assert row.stale == f"{tmp_path}/deep/b.bin changed or is gone; share it again"


def test_a_changed_file_below_a_folder_that_is_not_utf8_can_be_reported(library: Library, tmp_path: Path) -> None:
    top = tmp_path / os.fsdecode(b"caf\xe9")
    share_id = put(library, Share({"a": b"1"}), top)
    files = SharedFiles(library, share_id)
    with files.reading(0) as (descriptor, _):
        assert os.read(descriptor, 2) == b"1"
    (top / "a").unlink()
    files.changed(0)
    (row,) = library.shares()
    assert row.stale is not None
    assert "caf\\udce9/a changed" in row.stale


def test_a_file_that_was_only_touched_is_hashed_and_has_a_new_stamp(library: Library, tmp_path: Path) -> None:
    share = Share(FILES)
    share_id = put(library, share, tmp_path)
    files, entry, path = SharedFiles(library, share_id), share.entry_of("deep/b.bin"), tmp_path / "deep" / "b.bin"
    before = files.stamp(entry)
    path.chmod(0o600)
    assert not before.fits(path.stat())
    assert files.changed(entry, before) == 0
    assert files.stamp(entry) == library.stamps(share_id)[entry] == Stamp.of(path.stat())
    assert files.held == share.layout.everything
    assert [row.stale for row in library.shares()] == [None]
    assert files.changed(entry, before) == 0, "whoever saw the stamp of before need not hash it again"


def test_bytes_changed_behind_an_old_date_are_noticed(library: Library, tmp_path: Path) -> None:
    share = Share(FILES)
    files = SharedFiles(library, put(library, share, tmp_path))
    entry, path = share.entry_of("deep/b.bin"), tmp_path / "deep" / "b.bin"
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"X")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files.changed(entry, files.stamp(entry)) == bitmap.span(*share.layout.range_of(entry))
    assert [row.stale for row in library.shares()] == [f"{path} changed or is gone; share it again"]


def test_stamps_of_an_earlier_version_fit_without_their_ctime(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    old = Stamp.of(path.stat())._replace(ctime_ns=0)
    path.chmod(0o600)
    assert old.fits(path.stat())
    path.write_bytes(b"12")
    assert not old.fits(path.stat())


def test_what_stands_in_a_files_place_is_never_followed_nor_waited_for(library: Library, tmp_path: Path) -> None:
    top, secret = tmp_path / "top", tmp_path / "secret"
    secret.write_bytes(b"secret")
    files = SharedFiles(library, put(library, Share({"a": b"1", "b": b"2", "c": b"3"}), top))
    for name in "abc":
        (top / name).unlink()
    (top / "a").symlink_to(secret)
    os.mkfifo(top / "b")
    with pytest.raises(OSError, match="symbolic"), files.reading(0):
        pass
    with files.reading(1) as (descriptor, stamp):
        assert Stamp.of(os.fstat(descriptor)) != stamp
    with pytest.raises(FileNotFoundError), files.reading(2):
        pass


def test_a_share_that_is_not_there_is_not_found(library: Library) -> None:
    nowhere = ShareId(bytes(32))
    assert library.share(nowhere) is None
    for ask in (library.stamps, library.manifest):
        with pytest.raises(NotFound):
            ask(nowhere)
    with pytest.raises(NotFound):
        SharedFiles(library, nowhere)


def test_what_strangers_ask_reads_no_stamps(library: Library, database: Database, tmp_path: Path) -> None:
    """The stamps of 100,000 files are 3 MiB, which each manifest part would cost besides."""
    share_id = put(library, Share({"a": b"1"}), tmp_path)
    asked: list[str] = []
    database._connection.set_trace_callback(asked.append)
    assert library.tells_of(share_id)
    assert library.share(share_id) is not None
    assert [row.id for row in library.shares()] == [share_id]
    assert [row.share for row in library.listed(0, 5)] == [share_id]
    database._connection.set_trace_callback(None)
    assert len(asked) == 4
    for sql in asked:
        (plan, *_) = database.rows(f"EXPLAIN QUERY PLAN {sql}")
        assert "COVERING INDEX share_rows" in plan[3]


def test_listings_come_in_pages(library: Library, tmp_path: Path) -> None:
    shares = [put(library, Share({str(number): b"1"}), tmp_path / str(number)) for number in range(5)]
    with library._database.transaction() as connection:
        connection.execute("UPDATE share SET unlisted = (id = ?)", [shares[3]])
    found = [row.share for start in range(0, 6, 2) for row in library.listed(start, 2)]
    assert found == [shares[number] for number in (4, 2, 1, 0)]
