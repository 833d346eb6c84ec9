"""Targets: chunks become files, and nothing else is touched."""

import os
import resource
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from p2p.core.shares import bitmap
from p2p.core.shares.layout import Layout
from p2p.errors import BadData, StorageError, TargetExists
from p2p.ids import ShareId, short
from p2p.store import explaining
from p2p.store.fetches import Fetches
from p2p.store.folders import MAX_OPEN, Folders
from p2p.store.stamps import Stamp
from p2p.store.target import Target
from tests.support.constants import Shorten
from tests.support.leaks import descriptors
from tests.support.small_shares import CHUNK, Share, build, contents, noise, settle, uncheck

BIG = noise(5, 3 * CHUNK + 17)
FILES: dict[str, bytes | None] = {
    "a.txt": b"first",
    "deep/er/big": BIG,
    "deep/exact": noise(6, 2 * CHUNK),
    "empty": b"",
    "nothing/at all": None,
    "run.sh": b"#!/bin/sh\n",
    "tool": noise(7, CHUNK + 1),
}
MIXED = Share(FILES, executable=frozenset({"run.sh", "tool", "empty"}))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@contextmanager
def opened(share: Share, records: Fetches, out: Path, *, overwrite: bool = False) -> Iterator[Target]:
    target = share.open(records, out, overwrite=overwrite)
    try:
        yield target
    finally:
        target.close()


def parts(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.part"))


# The plain course.


@pytest.mark.parametrize("seed", range(5))
def test_chunks_in_any_order_become_the_files(records: Fetches, out: Path, seed: int) -> None:
    with opened(MIXED, records, out) as target:
        assert MIXED.finish(target, seed=seed) != sorted(range(MIXED.layout.chunks))
        assert MIXED.in_place(out)
        assert target.record.have == target.record.durable == MIXED.layout.everything
        assert target.results() == [out / "share"]
        for entry, item in enumerate(MIXED.manifest.entries):
            path = out.joinpath("share", *item.path)
            if MIXED.layout.is_file(entry):
                assert bool(path.stat().st_mode & stat.S_IXUSR) == item.executable
                assert target.placed[entry] == Stamp.of(path.stat())
        target.record.forget()
    assert os.listdir(out.parent / "home/fetches") == []


def test_a_file_grows_as_a_part_and_gets_its_name_when_whole(records: Fetches, out: Path) -> None:
    share = Share({"a": BIG, "b": b"small"})
    mark = short(share.manifest.share_id)
    with opened(share, records, out) as target:
        for chunk in (3, 1):
            share.write(target, chunk)
        target.settle([0], [])
        assert contents(out / "share").keys() == {f"a.{mark}.part"}
        assert target.record.durable == 0b01010
        share.write(target, 4)
        assert parts(out) == [f"share/a.{mark}.part", f"share/b.{mark}.part"]
        assert target.whole([0, 1]) == [1]
        target.settle([1], [1])
        assert contents(out / "share").keys() == {f"a.{mark}.part", "b"}
        share.finish(target)
    assert share.in_place(out)


def test_a_single_file_is_written_under_its_own_name(records: Fetches, out: Path) -> None:
    share = Share({"the file": BIG}, name="some other name", single=True)
    share.fetch(records, out)
    assert share.in_place(out)


def test_the_umask_is_respected(records: Fetches, out: Path) -> None:
    share = Share({"plain": b"1", "tool": b"2", "empty": b""}, executable=frozenset({"tool"}))
    before = os.umask(0o027)
    try:
        share.fetch(records, out)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (out / "share").iterdir()}
    assert modes == {"plain": 0o640, "tool": 0o750, "empty": 0o640}


def test_equal_files_are_fetched_once_and_copied(records: Fetches, out: Path) -> None:
    share = Share({"a": BIG, "b/copy": BIG, "c": b"x", "d": b"x", "e": b"x"}, executable=frozenset({"b/copy", "d"}))
    with opened(share, records, out) as target:
        assert target.wanted.bit_count() == 4 + 1
        assert len(share.finish(target)) == 5
        assert target.uncopied() == []
    assert share.in_place(out)
    assert {name for name in share.files if (out / "share" / name).stat().st_mode & 0o100} == {"b/copy", "d"}


def test_a_copy_is_not_made_from_a_file_that_was_changed(records: Fetches, out: Path) -> None:
    share = Share({"a": BIG, "b": BIG})
    with opened(share, records, out) as target:
        for chunk in bitmap.members(target.wanted):
            share.write(target, chunk)
        target.settle([0], [0])
        (out / "share/a").write_bytes(bytes(len(BIG)))
        with pytest.raises(StorageError, match="changed by another program"):
            target.fill_copies(target.uncopied())
        (out / "share/a").write_bytes(BIG)
        target.fill_copies(target.uncopied())
    assert share.in_place(out)


def test_only_what_is_selected_is_fetched(records: Fetches, out: Path) -> None:
    target = MIXED.open(records, out, only=["deep/exact", "empty"])
    try:
        assert len(MIXED.finish(target)) == 2
        assert target.selected_bytes == 2 * CHUNK
        assert target.results() == [out / "share/deep/exact", out / "share/empty"]
    finally:
        target.close()
    assert contents(out) == {"share/deep/exact": FILES["deep/exact"], "share/empty": b""}
    # And the rest another time.
    MIXED.fetch(records, out)
    assert MIXED.in_place(out)


def test_a_selection_that_makes_a_copy_of_what_was_begun_as_an_original(records: Fetches, out: Path) -> None:
    share = Share({"a": BIG, "b": BIG})
    target = share.open(records, out, only=["b"])
    share.write(target, 5)
    target.close()
    share.fetch(records, out)
    assert share.in_place(out)


def test_a_fetch_goes_on_where_it_stopped(records: Fetches, out: Path) -> None:
    with opened(MIXED, records, out) as target:
        for chunk in (0, 2, 5):
            MIXED.write(target, chunk)
        target.settle([0], [0])
    with opened(MIXED, records, out) as target:
        assert target.record.have == 0b100101
        assert sum(target.missing_chunks()) == MIXED.layout.chunks - 3
        assert set(MIXED.finish(target)).isdisjoint({0, 2, 5})
    assert MIXED.in_place(out)


def test_names_as_long_as_names_get(records: Fetches, out: Path) -> None:
    share = Share({"x" * 255: BIG, "y" * 250: b"2", "é" * 127: b"3", "z" * 255 + "/" + "z" * 255: b"4"})
    share.fetch(records, out)
    assert share.in_place(out)


@pytest.mark.parametrize("guess", [".1", "1", ".x", ".part", f".{short(bytes(32))}"])
def test_no_name_makes_one_files_part_another_files(records: Fetches, out: Path, guess: str) -> None:
    # The second file's name is too long for its part to carry it; the first guesses what its part is called instead.
    share = Share({guess: BIG, "x" * 250: BIG[::-1]})
    with opened(share, records, out) as target:
        for chunk in range(share.layout.chunks):
            share.write(target, chunk)
        assert len(parts(out)) == 2
        settle(target)
    assert share.in_place(out)


@pytest.mark.parametrize("name", ["a.aaaaaaaa.part", ".aaaaaaaa.0.part", ".aaaaaaaa.part"])
def test_a_name_that_is_another_files_part_is_refused(records: Fetches, out: Path, name: str) -> None:
    share_id = ShareId(bytes(32))
    assert short(share_id) == "aaaaaaaa"
    layout = Layout(msgspec.structs.replace(Share({"a": b"1", name: b"2"}).manifest, share_id=share_id))
    records.remember(share_id, out)
    with pytest.raises(BadData):
        Target(layout, out, [0, 1], records.begin(share_id, out, 2), overwrite=False)
    assert not out.exists()


def test_an_output_folder_whose_name_is_not_utf8(records: Fetches, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    with opened(MIXED, records, out) as target:
        MIXED.write(target, 1)
        target.record.keep_sources(["peer@host:1"])
    assert records.sources(MIXED.manifest.share_id) == ["peer@host:1"]
    with opened(MIXED, records, out) as target:
        assert target.record.have == 0b10
        MIXED.finish(target)
    assert MIXED.in_place(out)


# What is there already.


@pytest.mark.parametrize("overwrite", [False, True])
def test_equal_files_are_taken_as_fetched(records: Fetches, out: Path, overwrite: bool) -> None:
    build(out / "share", MIXED.files)
    inodes = {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}
    with opened(MIXED, records, out, overwrite=overwrite) as target:
        assert not any(target.missing_chunks())
        assert MIXED.finish(target) == []
    assert inodes == {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["a.txt", "deep/er/big", "empty"])
@pytest.mark.parametrize("longer", [False, True])
def test_a_different_file_is_refused_and_kept(records: Fetches, out: Path, name: str, longer: bool) -> None:
    data = MIXED.files[name]
    assert data is not None
    theirs = data + b"more" if longer or not data else b"X" + data[1:]
    path = out / "share" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(theirs)
    with pytest.raises(TargetExists, match=name):
        MIXED.open(records, out)
    assert path.read_bytes() == theirs
    assert parts(out) == []
    with opened(MIXED, records, out, overwrite=True) as target:
        if data:
            assert path.read_bytes() == theirs
        MIXED.finish(target)
    assert MIXED.in_place(out)


def test_overwriting_leaves_a_files_other_names_alone(records: Fetches, out: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"backup")
    (out / "share").mkdir(parents=True)
    for name in ("a", "empty"):
        (out / "share" / name).hardlink_to(precious)
    share = Share({"a": b"new", "empty": b""})
    share.fetch(records, out, overwrite=True)
    assert share.in_place(out)
    assert precious.read_bytes() == b"backup"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "empty", "tool"])
def test_a_folder_in_a_files_place_is_refused(records: Fetches, out: Path, name: str, overwrite: bool) -> None:
    (out / "share" / name).mkdir(parents=True)
    (out / "share" / name / "theirs").write_bytes(b"theirs")
    with pytest.raises(TargetExists):
        MIXED.open(records, out, overwrite=overwrite)
    assert (out / "share" / name / "theirs").read_bytes() == b"theirs"


@pytest.mark.parametrize("name", ["deep", "deep/er", "nothing", "nothing/at all"])
def test_a_file_in_a_folders_place_is_refused(records: Fetches, out: Path, name: str) -> None:
    path = out / "share" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"theirs")
    with pytest.raises(StorageError, match="leads through"):
        MIXED.open(records, out, overwrite=True)
    assert path.read_bytes() == b"theirs"


def test_the_output_folder_may_not_be_a_file(records: Fetches, out: Path) -> None:
    out.write_bytes(b"theirs")
    with pytest.raises(StorageError):
        MIXED.open(records, out)
    assert out.read_bytes() == b"theirs"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_appears_while_it_is_fetched(records: Fetches, out: Path, overwrite: bool) -> None:
    share = Share({"a": b"ours", "b": BIG})
    with opened(share, records, out, overwrite=overwrite) as target:
        for chunk in range(share.layout.chunks):
            share.write(target, chunk)
        for name in "ab":
            (out / "share" / name).write_bytes(b"theirs")
        if overwrite:
            settle(target)
            assert share.in_place(out)
            return
        with pytest.raises(TargetExists, match="appeared"):
            settle(target)
        assert (out / "share/a").read_bytes() == (out / "share/b").read_bytes() == b"theirs"
    # Out of the way, nothing need be fetched again.
    for name in "ab":
        (out / "share" / name).unlink()
    with opened(share, records, out) as target:
        assert share.finish(target) == []
    assert share.in_place(out)


def test_a_file_put_into_place_by_hand_makes_its_part_superfluous(records: Fetches, out: Path) -> None:
    share = Share({"a": BIG, "b": b"2"})
    with opened(share, records, out) as target:
        share.write(target, 0)
    (out / "share/a").write_bytes(BIG)
    with opened(share, records, out) as target:
        assert share.finish(target) == [4]
    assert share.in_place(out)


# Ways out of the output folder.


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that must not be touched."""
    outside = tmp_path / "outside"
    (outside / "er").mkdir(parents=True)
    (outside / "victim").write_bytes(b"precious")
    before = contents(outside), outside.stat().st_mtime_ns
    yield outside
    assert (contents(outside), outside.stat().st_mtime_ns) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["", "deep", "deep/er", "nothing", "nothing/at all"])
def test_a_linked_folder_is_refused(records: Fetches, out: Path, outside: Path, name: str, overwrite: bool) -> None:
    path = out / "share" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    with pytest.raises(StorageError, match="leads through a link"):
        MIXED.open(records, out, overwrite=overwrite)


def test_a_folder_that_becomes_a_link_while_it_is_fetched(records: Fetches, out: Path, outside: Path) -> None:
    with opened(MIXED, records, out) as target:
        (out / "share/deep").symlink_to(outside)
        with pytest.raises(StorageError, match="leads through a link"):
            MIXED.finish(target)
        (out / "share/deep").unlink()
        MIXED.finish(target)
    assert MIXED.in_place(out)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "tool", "empty"])
@pytest.mark.parametrize("to", ["victim", "nowhere"])
def test_a_link_in_a_files_place_is_refused(
    records: Fetches, out: Path, outside: Path, name: str, to: str, overwrite: bool
) -> None:
    (out / "share").mkdir(parents=True)
    (out / "share" / name).symlink_to(outside / to)
    with pytest.raises(TargetExists):
        MIXED.open(records, out, overwrite=overwrite)
    assert (out / "share" / name).is_symlink()


@pytest.mark.parametrize("name", ["a.txt", "tool", "empty"])
def test_a_link_in_a_parts_place_is_refused(records: Fetches, out: Path, outside: Path, name: str) -> None:
    (out / "share").mkdir(parents=True)
    part = out / "share" / f"{name}.{short(MIXED.manifest.share_id)}.part"
    part.symlink_to(outside / "victim")

    def fetch() -> None:
        with opened(MIXED, records, out) as target:
            MIXED.finish(target)

    with pytest.raises(StorageError, match="Something else is in its place"):
        fetch()
    part.unlink()
    fetch()
    assert MIXED.in_place(out)


def test_a_link_in_a_finished_files_place_is_replaced_not_followed(records: Fetches, out: Path, outside: Path) -> None:
    share = Share({"a": b"ours"})
    with opened(share, records, out, overwrite=True) as target:
        share.write(target, 0)
        (out / "share/a").symlink_to(outside / "victim")
        settle(target)
    assert not (out / "share/a").is_symlink()
    assert share.in_place(out)


def test_the_output_folder_itself_may_be_a_link(records: Fetches, out: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    out.symlink_to(tmp_path / "real")
    MIXED.fetch(records, out)
    assert MIXED.in_place(tmp_path / "real")


@pytest.mark.parametrize("name", ["a.txt", "tool", "empty"])
def test_a_pipe_holds_nobody_up(records: Fetches, out: Path, name: str) -> None:
    (out / "share").mkdir(parents=True)
    os.mkfifo(out / "share" / name)
    with pytest.raises(TargetExists):
        MIXED.open(records, out, overwrite=True)
    (out / "share" / name).unlink()
    os.mkfifo(out / "share" / f"{name}.{short(MIXED.manifest.share_id)}.part")

    def fetch() -> None:
        with opened(MIXED, records, out) as target:
            MIXED.finish(target)

    with pytest.raises(StorageError):
        fetch()


# Meddlers.


def test_a_part_that_is_removed_is_not_made_again_with_holes(records: Fetches, out: Path) -> None:
    share = Share({"a": BIG, "b": noise(8, 2 * CHUNK)})
    with opened(share, records, out) as target:
        for chunk in (0, 4):
            share.write(target, chunk)
        (out / parts(out)[0]).unlink()
        with pytest.raises(StorageError, match="removed"):
            share.write(target, 1)
        assert target.record.have == 0b10000
    with opened(share, records, out) as target:
        assert target.record.have == 0b10000
        assert sorted(share.finish(target)) == [0, 1, 2, 3, 5]
    assert share.in_place(out)


@pytest.mark.parametrize("size", [0, CHUNK, len(BIG) - 1])
def test_a_part_that_is_cut_short_is_not_believed(records: Fetches, out: Path, size: int) -> None:
    share = Share({"a": BIG})
    with opened(share, records, out) as target:
        for chunk in range(4):
            share.write(target, chunk)
        os.truncate(out / parts(out)[0], size)
        with pytest.raises(StorageError, match="cut short"):
            settle(target)
        assert not (out / "share/a").exists()
    with opened(share, records, out) as target:
        assert len(share.finish(target)) == 4
    assert share.in_place(out)


@pytest.mark.parametrize("size", [0, CHUNK])
def test_a_part_cut_short_between_two_tries_is_not_believed(records: Fetches, out: Path, size: int) -> None:
    share = Share({"a": BIG, "b": b"2"})
    with opened(share, records, out) as target:
        for chunk in (0, 2, 4):
            share.write(target, chunk)
        target.settle([0, 1], [])
    os.truncate(out / parts(out)[0], size)
    with opened(share, records, out) as target:
        assert target.record.have == target.record.durable == 0b10000
        share.finish(target)
    assert share.in_place(out)


@pytest.mark.parametrize("data", [b"small", BIG])
def test_a_part_that_is_too_long_is_cut(records: Fetches, out: Path, data: bytes) -> None:
    share = Share({"a": data})
    (out / "share").mkdir(parents=True)
    (out / "share" / f"a.{short(share.manifest.share_id)}.part").write_bytes(bytes(len(BIG) + 100))
    share.fetch(records, out)
    assert share.in_place(out)


def test_a_whole_part_that_is_removed_is_an_error_and_fetched_again(records: Fetches, out: Path) -> None:
    share = Share({"a": b"small", "b": BIG})
    with opened(share, records, out) as target:
        for chunk in range(share.layout.chunks):
            share.write(target, chunk)
        for part in parts(out):
            (out / part).unlink()
        with pytest.raises(StorageError):
            settle(target)
    share.fetch(records, out)
    assert share.in_place(out)


def test_a_file_removed_between_two_tries_is_fetched_again(records: Fetches, out: Path) -> None:
    with opened(MIXED, records, out) as target:
        MIXED.finish(target)
    (out / "share/tool").unlink()
    with opened(MIXED, records, out) as target:
        assert len(MIXED.finish(target)) == 2
    assert MIXED.in_place(out)


def test_the_folder_removed_while_it_is_fetched(records: Fetches, out: Path) -> None:
    share = Share({"f/a": BIG})
    with opened(share, records, out) as target:
        share.write(target, 0)
        for part in parts(out):
            (out / part).unlink()
        (out / "share/f").rmdir()
        with pytest.raises(StorageError):
            share.write(target, 1)
    share.fetch(records, out)
    assert share.in_place(out)


def test_a_chunk_that_comes_twice_leaves_nothing_behind(records: Fetches, out: Path) -> None:
    share = Share({"a": b"small", "b": BIG})
    with opened(share, records, out) as target:
        share.finish(target)
        before = {path: Stamp.of(path.stat()) for path in (out / "share").iterdir()}
        for chunk in range(share.layout.chunks):
            share.write(target, chunk)
        assert before == {path: Stamp.of(path.stat()) for path in (out / "share").iterdir()}


def test_a_run_of_chunks_is_written_like_its_chunks_one_by_one(records: Fetches, out: Path) -> None:
    share = Share(FILES)
    with opened(share, records, out) as target:
        share.write(target, 2)
        count = share.layout.chunks
        run = [(share.layout.place(chunk), memoryview(share.chunk(chunk))) for chunk in range(count)]
        assert target.write_run(0, run[:4]) == 4
        assert target.record.have == 0b1111
        assert target.write_run(4, run[4:]) == count - 4
        settle(target)
        assert target.write_run(0, run) == count
        assert not parts(out)
    assert share.in_place(out)


def test_of_a_run_that_cannot_be_written_all_before_is_recorded(records: Fetches, out: Path) -> None:
    share = Share({f"{name}/file": noise(at, 50) for at, name in enumerate("abcd")})
    with opened(share, records, out) as target:
        share.write(target, 1)
        (out / "share" / "c").write_bytes(b"in the way")
        run = [(share.layout.place(chunk), memoryview(share.chunk(chunk))) for chunk in range(4)]
        with pytest.raises(StorageError, match="leads through a link or a file"):
            target.write_run(0, run)
        assert target.record.have == 0b0011
        right(share, target)


# Disks that say no.


def test_a_full_disk_is_explained_and_what_was_written_is_kept(
    records: Fetches, small_disk: Callable[[int], Path], shorten: Shorten
) -> None:
    shorten(explaining, "SPARE_BYTES", -(2**60))
    out = small_disk(5 * CHUNK) / "out"
    share = Share({f"{n}": noise(n, 3 * CHUNK) for n in range(3)})
    with opened(share, records, out) as target:
        with pytest.raises(StorageError, match=r"No space left.*Make room"):
            share.finish(target)
        written = target.record.have
        assert 0 < written.bit_count() < 6
        right(share, target)
        target.settle([0, 1, 2], target.whole([0, 1, 2]))
    with opened(share, records, out) as target:
        assert target.record.have == target.record.durable == written
        with pytest.raises(StorageError, match="No space left"):
            share.finish(target)
        right(share, target)


def test_a_disk_that_does_not_say_how_large_it_is_is_not_full(
    records: Fetches, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some over FUSE say 0 for everything."""
    share = Share({"a": b"a"})
    with opened(share, records, out) as target:
        monkeypatch.setattr(os, "fstatvfs", lambda descriptor: os.statvfs_result([0] * 10))
        target.check_space()


def test_only_what_is_wanted_needs_room(records: Fetches, small_disk: Callable[[int], Path], shorten: Shorten) -> None:
    shorten(explaining, "SPARE_BYTES", CHUNK)
    out = small_disk(5 * CHUNK) / "out"
    share = Share({"a": noise(1, 8 * CHUNK)})
    with closing(Target(share.layout, out, [0], share.record(records, out), overwrite=False)) as target:
        with pytest.raises(StorageError, match="still to come"):
            target.check_space()
        target.check_space(0b111)
        with pytest.raises(StorageError, match="still to come"):
            target.check_space(0b11111)
        share.write(target, 0)
        share.write(target, 1)
        target.check_space(0b11)
        target.check_space(0b0111)
        with pytest.raises(StorageError, match="still to come"):
            target.check_space(0b11111)


def test_of_equal_files_the_first_is_read_until_all_are_in_place(records: Fetches, out: Path) -> None:
    share = Share({"a": b"same", "b": b"other", "c": b"same", "d": None, "e": b""})
    with opened(share, records, out) as target:
        assert [target.original(entry) for entry in range(5)] == [0, 1, 0, 3, 4]
        assert not target.complete
        share.write(target, 0)
        target.settle([0], [0])
        assert not target.complete
        share.finish(target)
        assert target.complete
        assert [stamp.size for stamp in target.stamps()] == [4, 5, 4, 0, 0]


def right(share: Share, target: Target) -> None:
    """Every chunk believed to be there is."""
    for chunk in bitmap.members(target.record.have):
        place = share.layout.place(chunk)
        with target.reading(place.entry) as (descriptor, _):
            assert os.pread(descriptor, place.size, place.offset) == share.chunk(chunk)


def test_a_disk_without_room_for_folders_is_explained(records: Fetches, small_disk: Callable[[int], Path]) -> None:
    out = small_disk(64 * 1024)
    (out / "ballast").write_bytes(bytes(64 * 1024))
    with pytest.raises(StorageError, match="0 B free"):
        MIXED.open(records, out)


def test_a_file_larger_than_the_disk_takes_is_explained(records: Fetches, out: Path) -> None:
    share = Share({"a": noise(1, 4 * CHUNK)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(share, records, out) as target:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * CHUNK + 1000, before[1]))
        try:
            for chunk in (0, 1):
                share.write(target, chunk)
            with pytest.raises(StorageError, match="No file may be that large"):
                share.write(target, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert target.record.have == 0b11
        share.finish(target)
    assert share.in_place(out)


def test_too_little_room_is_said_before_it_starts(records: Fetches, small_disk: Callable[[int], Path]) -> None:
    out = small_disk(3 * CHUNK)
    share = Share({"a": noise(1, 2 * CHUNK)})
    with pytest.raises(StorageError, match=r"KiB free, but 512 KiB are still to come, and 512 KiB must stay free"):
        share.open(records, out)
    # What is there already needs no room.
    build(out / "share", share.files)
    share.open(records, out).close()


def test_a_small_file_is_fetched_to_a_disk_with_little_room(
    records: Fetches, small_disk: Callable[[int], Path]
) -> None:
    out = small_disk(CHUNK)
    Share({"a": b"6 byte"}).fetch(records, out)
    assert (out / "share/a").read_bytes() == b"6 byte"


def test_a_folder_that_may_not_be_written_to_is_explained(
    records: Fetches, tmp_path: Path, nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)
    record = MIXED.record(records, out)
    target = Target(MIXED.layout, out, [0], record, overwrite=False)
    try:
        with nobody(), pytest.raises(StorageError, match="get the right to write there"):
            MIXED.write(target, 0)
        assert record.have == 0
    finally:
        target.close()
        out.chmod(0o755)


def test_only_what_is_missing_from_a_closed_folder_is_out_of_reach(
    records: Fetches, tmp_path: Path, nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    out = tmp_path / "out"
    closed = out / "share/deep"
    build(out / "share", {"deep/exact": FILES["deep/exact"]})
    closed.chmod(0o555)
    every = list(range(len(MIXED.manifest.entries)))
    with closing(Target(MIXED.layout, out, every, MIXED.record(records, out), overwrite=False)) as target:
        try:
            with nobody():
                assert target.out_of_reach() == {MIXED.entry_of("deep/er/big"): closed}
        finally:
            closed.chmod(0o755)
        assert target.out_of_reach() == {}


def test_what_happens_after_closing_is_a_storage_error(records: Fetches, out: Path) -> None:
    target = MIXED.open(records, out)
    MIXED.write(target, 0)
    target.close()
    target.close()
    with pytest.raises(StorageError):
        MIXED.write(target, 1)
    with pytest.raises(StorageError):
        settle(target)


# Threads.


def test_writing_settling_and_reading_at_once(records: Fetches, out: Path) -> None:
    files: dict[str, bytes | None] = {f"{n % 9}/{n:03}": noise(n, 100 + n) for n in range(300)}
    files |= {f"big{n}": noise(n, 4 * CHUNK + n) for n in range(4)}
    share = Share(files)
    chunks = list(range(share.layout.chunks))
    with opened(share, records, out) as target:

        def write(some: list[int]) -> None:
            for chunk in some:
                share.write(target, chunk)

        def read() -> None:
            while target.record.have != share.layout.everything:
                right(share, target)
            right(share, target)

        with ThreadPoolExecutor(6) as pool:
            # Neighbours in one byte of the bitmap, each in a thread of its own.
            work = [pool.submit(write, chunks[at::4]) for at in range(4)]
            reader = pool.submit(read)
            while not all(future.done() for future in work):
                # As a fetch does: of what was written, some is named at a time, and more is written meanwhile.
                settle(target)
            for future in (*work, reader):
                future.result()
        settle(target)
        assert target.record.have == target.record.durable == share.layout.everything
    assert share.in_place(out)
    with opened(share, records, out) as target:
        assert target.record.have == share.layout.everything


def test_a_file_is_found_under_one_name_or_the_other_at_every_moment(records: Fetches, out: Path) -> None:
    share = Share({f"{n}": b"%d" % n for n in range(400)})
    with opened(share, records, out) as target:
        for chunk in range(share.layout.chunks):
            share.write(target, chunk)
        files = list(range(share.layout.chunks))
        with ThreadPoolExecutor(1) as pool:
            settling = pool.submit(target.settle, files, files)
            while not settling.done():
                for entry in files:
                    with target.reading(entry) as (descriptor, _):
                        assert os.pread(descriptor, 10, 0) == b"%s" % share.path_of(entry).encode()
            settling.result()


def test_only_what_was_synced_is_called_durable(records: Fetches, out: Path) -> None:
    share = Share({"a": b"1", "b": BIG})
    with opened(share, records, out) as target:
        share.write(target, 0)
        share.write(target, 1)
        target.settle([0], [0])
        assert target.record.durable == 0b1
        target.settle([1], [])
        assert target.record.durable == 0b11


def test_more_folders_than_stay_open(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    names = [(f"{number}",) for number in range(MAX_OPEN + 20)]
    for _ in range(2):
        for name in names:
            with folders.taken(name) as descriptor:
                assert os.path.samestat(os.fstat(descriptor), (tmp_path / name[0]).stat())
    # All taken at once: none may be closed under its taker.
    with ExitStack() as stack:
        for name in names:
            descriptor = stack.enter_context(folders.taken(name))
            assert os.path.samestat(os.fstat(descriptor), (tmp_path / name[0]).stat())
        folders.close()
        for name in names:
            with pytest.raises(OSError, match="no longer"):
                folders.take(name)
        assert len(descriptors(tmp_path)) == len(names)
    assert descriptors(tmp_path) == []
    folders.close()


def test_a_manifest_of_nothing_but_folders(records: Fetches, out: Path) -> None:
    share = Share({"a/b": None, "c": None})
    share.fetch(records, out)
    assert share.in_place(out)
    target = share.open(records, out)
    target.survey(uncheck)
    target.close()
