"""Modification times: found where they are asked for, and set on what is fetched."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import MAX_TIME_NS, MIN_TIME_NS, TimedEntry
from p2p.store.fetches import Fetches
from p2p.store.indexing import Indexer
from p2p.store.local_paths import LocalPaths
from p2p.store.previous_version import Earlier
from p2p.store.stamps import Stamp
from p2p.store.survey import survey
from p2p.store.target import Target
from p2p.store.target_files import TargetFiles
from tests.support.small_shares import CHUNK, Share, build, manifest_of, noise, uncheck

TIME = 1_000_000_000_123_456_789
COPIED = noise(2, CHUNK + 1)
FILES: dict[str, bytes | None] = {
    "big": noise(1, 3 * CHUNK + 17),
    "copied": COPIED,
    "copy": COPIED,
    "empty": b"",
    "nothing/here": None,
    "small": b"s",
}
TIMES = {path: TIME + 1_000_000_000 * number for number, path in enumerate(FILES)}


def timed(files: Mapping[str, bytes | None], times: Mapping[str, int]) -> Share:
    """A share with these modification times, in nanoseconds."""
    share = Share(files)
    share.manifest = manifest_of(
        [
            TimedEntry(e.kind, e.path, e.size, e.executable, e.hashes, modified_ns=times["/".join(e.path)])
            for e in share.manifest.entries
        ]
    )
    share.layout = Layout(share.manifest)
    return share


SHARE = timed(FILES, TIMES)


def times_of(top: Path) -> dict[str, int]:
    """The modification times of all files and empty folders."""
    return {
        path.relative_to(top).as_posix(): path.stat().st_mtime_ns
        for path in top.rglob("*")
        if path.is_file() or not list(path.iterdir())
    }


def still_stamped(target: Target) -> bool:
    """Whether every file has the stamp that was taken of it."""
    return all(
        target.placed[entry].ctime_ns and target.placed[entry] == Stamp.of(target.path(entry).stat())
        for entry in target.layout.files
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_files_and_empty_folders_get_their_times(records: Fetches, out: Path) -> None:
    with closing(SHARE.open(records, out)) as target:
        SHARE.finish(target)
        assert still_stamped(target)
    assert SHARE.in_place(out)
    assert times_of(out / "share") == TIMES


def test_what_an_earlier_try_left_gets_its_time_too(records: Fetches, out: Path) -> None:
    with closing(SHARE.open(records, out)) as target:
        for chunk in range(SHARE.layout.chunks):
            if target.wanted >> chunk & 1:
                SHARE.write(target, chunk)
    with closing(SHARE.open(records, out)) as target:
        assert SHARE.finish(target) == []
        assert still_stamped(target)
    assert times_of(out / "share") == TIMES
    with closing(SHARE.open(records, out)) as target:
        assert target.complete
        assert still_stamped(target)


def test_without_times_files_are_of_now(records: Fetches, out: Path) -> None:
    Share(FILES).fetch(records, out)
    assert min(times_of(out / "share").values()) > max(TIMES.values())


@pytest.mark.parametrize("time", [MIN_TIME_NS, -1, 0, MAX_TIME_NS])
def test_times_that_a_disk_may_not_hold_stop_no_fetch(records: Fetches, out: Path, time: int) -> None:
    share = timed(FILES, dict.fromkeys(FILES, time))
    with closing(share.open(records, out)) as target:
        share.finish(target)
        assert still_stamped(target)
    assert share.in_place(out)
    if time == 0:
        assert set(times_of(out / "share").values()) == {0}


def test_a_disk_that_refuses_times_stops_no_fetch(records: Fetches, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    SHARE.fetch(records, out)
    assert SHARE.in_place(out)


def test_the_users_own_file_keeps_its_time_unless_it_may_be_replaced(records: Fetches, out: Path) -> None:
    build(out / "share", {"small": b"s", "nothing/here/mine": b"mine"})
    before = times_of(out / "share")
    mine = os.stat(out / "share/nothing/here").st_mtime_ns
    SHARE.fetch(records, out)
    assert {path: times_of(out / "share")[path] for path in before} == before
    assert os.stat(out / "share/nothing/here").st_mtime_ns == mine
    SHARE.fetch(records, out, overwrite=True)
    expected = TIMES | before
    expected["small"] = TIMES["small"]
    del expected["nothing/here"]
    assert times_of(out / "share") == expected


@pytest.mark.parametrize(("share", "others"), [(Share(FILES), []), (SHARE, ["small"])])
def test_only_files_with_other_times_are_looked_at_again(
    records: Fetches, out: Path, share: Share, others: list[str]
) -> None:
    share.fetch(records, out)
    os.utime(out / "share/small", ns=(TIME, TIME))
    asked: list[str] = []

    def may_replace(entry: int, _: os.stat_result) -> bool:
        asked.append(share.path_of(entry))
        return False

    with closing(TargetFiles(LocalPaths(share.layout, out, {}))) as files:
        found = survey(files, range(len(share.manifest.entries)), 0, may_replace, uncheck)
    assert found.placed.keys() == {share.entry_of(path) for path, data in FILES.items() if data}
    assert asked == others


def test_an_update_sets_the_times_of_files_that_it_made_before(records: Fetches, out: Path) -> None:
    SHARE.fetch(records, out)
    entries = range(len(SHARE.manifest.entries))
    stamps = [Stamp.of(os.stat(out / "share" / SHARE.path_of(entry))) for entry in entries]
    later = {path: time + 5 for path, time in TIMES.items()}
    touched = timed(FILES, later)
    earlier = Earlier(SHARE.layout, out, stamps)
    with closing(
        Target(touched.layout, out, entries, touched.record(records, out), overwrite=False, earlier=earlier)
    ) as target:
        target.survey(uncheck)
        target.make_empty()
        assert target.complete
        assert still_stamped(target)
    assert times_of(out / "share") == later


def test_times_are_found_only_if_asked_for(tmp_path: Path) -> None:
    top = build(tmp_path / "top", FILES)
    for path, time in TIMES.items():
        os.utime(top / path, ns=(time, time))
    for times in (False, True):
        indexer = Indexer([top], {}, times=times)
        indexer.walk(uncheck)
        indexer.work(uncheck)
        entries, _ = indexer.finish()
        assert entries == list((SHARE if times else Share(FILES)).manifest.entries)


@pytest.mark.parametrize("times", [False, True])
def test_a_time_that_no_share_can_hold_is_told(tmp_path: Path, times: bool) -> None:
    (tmp_path / "far").write_bytes(b"x")
    os.utime(tmp_path / "far", ns=(MAX_TIME_NS + 10**9, MAX_TIME_NS + 10**9))
    indexer = Indexer([tmp_path], {}, times=times)
    indexer.walk(uncheck)
    indexer.work(uncheck)
    (entry,), _ = indexer.finish()
    assert entry.path == ("far",)
    assert [("1677 to 2262" in one) for one in indexer.warnings] == [True] * times
