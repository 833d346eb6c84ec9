"""An earlier version in the output folder: its chunks are had from there, its files make room, and only they."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2p.core.shares import bitmap
from p2p.errors import TargetExists
from p2p.store.fetches import Fetches
from p2p.store.previous_version import Earlier
from p2p.store.stamps import NOT_HELD, Stamp
from p2p.store.target import Target
from tests.support.small_shares import CHUNK, Share, noise, settle, uncheck

BIG, SAME = noise(1, 3 * CHUNK), noise(2, CHUNK + 5)
FIRST = Share({"big": BIG, "deep/same": SAME, "note": b"first"})
SECOND = Share({"big": BIG[:CHUNK] + noise(3, CHUNK) + BIG[2 * CHUNK :], "deep/same": SAME, "note": b"second"})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def earlier(records: Fetches, out: Path) -> Earlier:
    """The first version, whole in the output folder."""
    FIRST.fetch(records, out)
    return Earlier(FIRST.layout, out, stamps(out))


def stamps(out: Path) -> list[Stamp]:
    entries = range(len(FIRST.manifest.entries))
    return [Stamp.of(os.stat(out / "share" / FIRST.path_of(entry))) for entry in entries]


@contextmanager
def opened(records: Fetches, out: Path, earlier: Earlier) -> Iterator[Target]:
    """A fetch of the second version, as far as the look at what is there."""
    entries = range(len(SECOND.manifest.entries))
    target = Target(SECOND.layout, out, entries, SECOND.record(records, out), overwrite=False, earlier=earlier)
    try:
        target.survey(uncheck)
        yield target
    finally:
        target.close()


def test_each_chunk_is_where_its_hash_says(earlier: Earlier) -> None:
    for chunk in range(FIRST.layout.chunks):
        place = earlier.place(FIRST.layout.hash(chunk))
        assert place is not None
        with earlier.reading(place.entry) as descriptor:
            assert os.pread(descriptor, place.size, place.offset) == FIRST.chunk(chunk)


def test_what_was_not_fetched_is_not_there(out: Path, earlier: Earlier) -> None:
    held = stamps(out)
    held[FIRST.entry_of("deep/same")] = NOT_HELD
    some = Earlier(FIRST.layout, out, held)
    chunk, _ = FIRST.layout.range_of(FIRST.entry_of("deep/same"))
    assert earlier.place(FIRST.layout.hash(chunk)) is not None
    assert some.place(FIRST.layout.hash(chunk)) is None
    path = out / "share/deep/same"
    assert earlier.left(path, path.stat())
    assert not some.left(path, path.stat())


def test_stamps_of_another_version_are_refused(out: Path, earlier: Earlier) -> None:
    with pytest.raises(ValueError, match="shorter"):
        Earlier(FIRST.layout, out, stamps(out)[:-1])


def test_no_link_is_followed(out: Path, earlier: Earlier, tmp_path: Path) -> None:
    path = out / "share/big"
    os.rename(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), earlier.reading(FIRST.entry_of("big")):  # noqa: PT011 - ELOOP or EMLINK
        pass
    assert not earlier.left(path, path.lstat())


def test_files_as_they_were_left_make_room(records: Fetches, out: Path, earlier: Earlier) -> None:
    with opened(records, out, earlier) as target:
        for chunk in bitmap.members(target.wanted & ~target.record.have):
            SECOND.write(target, chunk)
        # Until all of a file is there, the earlier one stays whole.
        assert (out / "share/big").read_bytes() == BIG
        settle(target)
    assert SECOND.in_place(out)


def test_a_file_that_somebody_changed_is_in_the_way(records: Fetches, out: Path, earlier: Earlier) -> None:
    (out / "share/note").write_bytes(b"mine!")
    with pytest.raises(TargetExists, match="note"), opened(records, out, earlier):
        pass
    assert (out / "share/note").read_bytes() == b"mine!"
    assert (out / "share/big").read_bytes() == BIG


def test_a_file_that_somebody_changes_meanwhile_stays(records: Fetches, out: Path, earlier: Earlier) -> None:
    with opened(records, out, earlier) as target:
        for chunk in bitmap.members(target.wanted & ~target.record.have):
            SECOND.write(target, chunk)
        (out / "share/note").write_bytes(b"mine!")
        with pytest.raises(TargetExists, match="changed while it was fetched"):
            settle(target)
    assert (out / "share/note").read_bytes() == b"mine!"


def test_a_file_of_the_same_name_that_is_not_of_that_version_stays(
    records: Fetches, out: Path, earlier: Earlier
) -> None:
    """Say, from the fetch of another version to the same folder, under way at the same time."""
    other = out / "share/note"
    other.rename(out / "share/aside")
    other.write_bytes(b"first")
    os.utime(other, (1, 1))
    with pytest.raises(TargetExists), opened(records, out, earlier):
        pass
    assert other.read_bytes() == b"first"
