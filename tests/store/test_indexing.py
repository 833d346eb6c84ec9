"""Indexing: what is found, what is skipped and said, what is read again; against hashing in the plainest way."""

import os
import socket
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from p2p.core.shares.manifest import Entry, EntryKind, chunk_bytes
from p2p.errors import ConfigError, StorageError
from p2p.store import indexing
from p2p.store.indexing import MAX_WARNINGS, Indexer, Known
from p2p.store.stamps import NOT_HELD, Stamp
from tests.support.small_shares import (
    CHUNK,
    build,
    contents,
    file_entry,
    folder_entry,
    manifest_of,
    noise,
    oracle,
    uncheck,
)

Check = Callable[[], None]
MIB = 1024 * 1024


class Indexed:
    """An indexing as `share` does it."""

    def __init__(
        self, *paths: Path, known: Known | None = None, workers: int = 1, check: Check = uncheck, rounds: int = 9
    ) -> None:
        self.indexer = Indexer(paths, known or {})
        self.indexer.walk(uncheck)
        self.rounds = 0
        while self.rounds < rounds:
            self.rounds += 1
            if workers == 1:
                self.indexer.work(check)
            else:
                with ThreadPoolExecutor(workers) as pool:
                    assert len([pool.submit(self.indexer.work, check).result() for _ in range(workers)]) == workers
            if not self.indexer.retry():
                break
        self.entries, self.stamps = self.indexer.finish()

    @property
    def paths(self) -> list[str]:
        return ["/".join(entry.path) for entry in self.entries]

    @property
    def warnings(self) -> list[str]:
        return self.indexer.warnings

    def known(self) -> Known:
        return {entry.path: (stamp, entry.hashes) for entry, stamp in zip(self.entries, self.stamps, strict=True)}


class Then:
    """A check that does something when it is called for the n-th time."""

    def __init__(self, nth: int, action: Callable[[], object]) -> None:
        self._left = nth
        self._action = action

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._action()


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes, and a time of change that no clock's grain can hide."""
    before = path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def sound(entries: Sequence[Entry]) -> None:
    """A peer would accept the manifest."""
    assert manifest_of(entries).entries == tuple(entries)


# What is found.


def test_a_tree_is_indexed_as_the_oracle_does(tmp_path: Path) -> None:
    top = build(
        tmp_path / "top",
        {
            "a.txt": b"hello",
            "empty": b"",
            "no files here": None,
            "deep/er/still/b": noise(1, CHUNK),
            "deep/er/c": noise(2, CHUNK + 1),
            "deep/er-": noise(3, 5 * CHUNK - 1),
            "deep.txt": b"sorts between",
            "ünï/ç": b"accents",
        },
    )
    (top / "a.txt").chmod(0o755)
    indexed = Indexed(top)
    assert indexed.entries == oracle(top)
    assert indexed.warnings == []
    sound(indexed.entries)
    executable = [entry.path for entry in indexed.entries if entry.executable]
    assert executable == [("a.txt",)]
    indexer = indexed.indexer
    assert indexer.bytes_done == indexer.bytes_total == sum(entry.size for entry in indexed.entries)
    assert indexer.files == 7
    assert not indexer.single
    for entry, stamp in zip(indexed.entries, indexed.stamps, strict=True):
        path = top.joinpath(*entry.path)
        assert stamp == (NOT_HELD if entry.kind is EntryKind.FOLDER else Stamp.of(path.stat()))


def test_a_single_file(tmp_path: Path) -> None:
    path = tmp_path / "one.bin"
    path.write_bytes(noise(1, CHUNK + 7))
    indexed = Indexed(path)
    assert indexed.entries == [file_entry("one.bin", path.read_bytes())]
    assert indexed.indexer.single


def test_several_paths_are_one_share_each_under_its_name(tmp_path: Path) -> None:
    build(tmp_path, {"x/photos/1.jpg": b"1", "x/photos/old/2.jpg": b"2", "y/notes.txt": b"n", "z/empty": None})
    indexed = Indexed(tmp_path / "y/notes.txt", tmp_path / "x/photos", tmp_path / "z")
    assert indexed.paths == ["notes.txt", "photos/1.jpg", "photos/old/2.jpg", "z/empty"]
    assert not indexed.indexer.single
    sound(indexed.entries)


def test_paths_of_the_same_name_are_refused(tmp_path: Path) -> None:
    build(tmp_path, {"x/same": b"1", "y/same": b"2"})
    with pytest.raises(ConfigError, match="same name"):
        Indexer([tmp_path / "x/same", tmp_path / "y/same"], {}).walk(uncheck)


@pytest.mark.parametrize("size", [32 * MIB + 1, 65 * MIB + 12345])
def test_a_big_file_cut_into_spans_by_several_threads_has_the_same_hashes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "big"
    block = noise(size, MIB)
    data = b"".join(number.to_bytes(8, "big") + block[8:] for number in range(size // MIB + 1))[:size]
    path.write_bytes(data)
    expected = [file_entry("big", data)]
    assert Indexed(path, workers=1).entries == expected
    assert Indexed(path, workers=4).entries == expected


def test_many_files_by_several_threads_give_the_same(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {f"{n % 7}/{n}": noise(n, (n * 7919) % (2 * CHUNK)) for n in range(60)})
    assert Indexed(top, workers=4).entries == oracle(top)


def test_an_interruption_ends_walking_and_working(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"a": b"1", "b/c": b"2"})

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    indexer = Indexer([top], {})
    with pytest.raises(Stop):
        indexer.walk(stop)
    indexer = Indexer([top], {})
    indexer.walk(uncheck)
    with pytest.raises(Stop):
        indexer.work(stop)


# What is skipped.


def test_symbolic_links_are_skipped_with_a_warning(tmp_path: Path) -> None:
    outside = build(tmp_path / "outside", {"secret": b"secret"})
    top = build(tmp_path / "top", {"real": b"real", "folder/file": b"f"})
    (top / "inside").symlink_to("real")
    (top / "out").symlink_to(outside / "secret")
    (top / "out-folder").symlink_to(outside)
    (top / "loop").symlink_to(top)
    (top / "folder/dangling").symlink_to("nowhere")
    indexed = Indexed(top)
    assert indexed.paths == ["folder/file", "real"]
    skipped = ("folder/dangling", "inside", "loop", "out", "out-folder")
    assert set(indexed.warnings) == {f"skipped {top}/{name}: it is a symbolic link" for name in skipped}
    assert indexed.indexer.skipped == 5


def test_what_is_no_file_is_skipped_and_never_waited_for(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"real": b"real"})
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        # Bound by a short relative path: those of sockets are limited.
        before = Path.cwd()
        os.chdir(top)
        try:
            listener.bind("socket")
        finally:
            os.chdir(before)
        indexed = Indexed(top)
    assert indexed.paths == ["real"]
    assert sorted(indexed.warnings) == [f"skipped {top}/{n}: it is not a regular file" for n in ("pipe", "socket")]
    alone = Indexer([top / "pipe"], {})
    alone.walk(uncheck)
    assert alone.finish() == ([], [])


def test_unreadable_files_and_folders_are_skipped_and_their_neighbours_are_not(
    tmp_path: Path, nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    top = build(tmp_path / "top", {f"{n}": b"%d" % n for n in range(8)} | {"locked/file": b"x", "listed/file": b"y"})
    for name in ("0", "3", "4"):
        (top / name).chmod(0)
    (top / "locked").chmod(0)
    (top / "listed").chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    with nobody():
        indexed = Indexed(Path("top"))
    for name in ("locked", "listed"):
        (top / name).chmod(0o755)
    assert indexed.entries == [file_entry(name, name.encode()) for name in "12567"]
    sound(indexed.entries)
    skipped = ("top/0", "top/3", "top/4", "top/listed/file", "top/locked")
    assert sorted(indexed.warnings) == [f"skipped {name}: Permission denied" for name in skipped]


def test_a_big_unreadable_file_is_mentioned_once(
    tmp_path: Path, nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    top = build(tmp_path / "top", {"a": b"1", "b": b"", "c": b"3"})
    os.truncate(top / "b", 100 * MIB)
    (top / "b").chmod(0)
    with nobody():
        indexed = Indexed(Path("top"))
    assert indexed.paths == ["a", "c"]
    assert len(indexed.warnings) == 1


def test_names_that_cannot_be_carried_are_skipped_with_a_readable_warning(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"good": b"g"})
    for name in (b"latin\xe9", b"line\nbreak", b"esc\x1b[2J", "right\u202eleft".encode(), b"back\\slash"):
        (top / os.fsdecode(name)).write_bytes(b"x")
    bad = top / os.fsdecode(b"folder\xff")
    bad.mkdir()
    (bad / "inside").write_bytes(b"x")
    indexed = Indexed(top)
    assert indexed.paths == ["good"]
    assert len(indexed.warnings) == 6
    for warning in indexed.warnings:
        assert warning.startswith(f"skipped {top}/")
        warning.encode()
    assert f"skipped {top}/latin\\udce9: its name is not UTF-8; rename it" in "\n".join(indexed.warnings)


def test_a_top_folder_whose_name_cannot_be_carried_is_fine_alone_and_skipped_among_others(tmp_path: Path) -> None:
    bad = build(tmp_path / os.fsdecode(b"caf\xe9"), {"a": b"1", "empty": None})
    good = build(tmp_path / "good", {"b": b"2"})
    assert Indexed(bad).paths == ["a", "empty"]
    indexed = Indexed(bad, good)
    assert indexed.paths == ["good/b"]
    assert len(indexed.warnings) == 2
    sound(indexed.entries)


def test_what_is_too_deep_is_skipped_file_or_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = build(tmp_path / "top", {"good": b"g"})
    monkeypatch.chdir(top)
    deep = "/".join("d" * 256)
    os.makedirs(deep)
    (Path(deep) / "file").write_bytes(b"too deep")
    os.makedirs("e/" + deep)
    os.makedirs("/".join("f" * 256))
    indexed = Indexed(top)
    assert indexed.paths == ["/".join("f" * 256), "good"]
    assert len(indexed.warnings) == 2
    assert all("too deep" in warning for warning in indexed.warnings)
    sound(indexed.entries)


def test_doubtful_names_are_carried_with_a_warning(tmp_path: Path) -> None:
    top = build(
        tmp_path / "top",
        {"README": b"1", "readme": b"2", "con.txt": b"3", "a:b": b"4", "trailing.": b"5", "e\u0301": b"6"},
    )
    indexed = Indexed(top)
    assert len(indexed.entries) == 6
    assert indexed.indexer.skipped == 0
    assert set(indexed.warnings) == {
        "a:b cannot be stored on Windows",
        "con.txt cannot be stored on Windows",
        "trailing. cannot be stored on Windows",
        "e\u0301 is not in the normal form (NFC) of Unicode",
        "README and readme differ only in case or Unicode form",
    }


def test_warnings_are_bounded(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"good": b"g"})
    for number in range(MAX_WARNINGS + 20):
        (top / f"link{number}").symlink_to("good")
    indexed = Indexed(top)
    assert len(indexed.warnings) == MAX_WARNINGS
    assert indexed.indexer.skipped == MAX_WARNINGS + 20


def test_an_empty_folder_gives_nothing(tmp_path: Path) -> None:
    assert Indexed(tmp_path).entries == []


def test_a_path_that_vanishes_before_the_walk_is_skipped(tmp_path: Path) -> None:
    indexed = Indexed(tmp_path / "gone")
    assert indexed.entries == []
    assert indexed.warnings == [f"skipped {tmp_path}/gone: it is gone"]


# Again.


def test_indexing_again_reads_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = build(tmp_path / "top", {f"{n}": noise(n, CHUNK + n) for n in range(5)})
    build(top, {"empty": b"", "folder": None})
    first = Indexed(top)
    rewrite(top / "2", noise(22, CHUNK + 2))
    (top / "3").chmod(0o700)
    (top / "new").write_bytes(b"new")
    (top / "4").unlink()
    # Whatever it would read by mistake is now wrong.
    stamps = {name: (top / name).stat() for name in ("0", "1", "3")}
    for name, status in stamps.items():
        (top / name).write_bytes(bytes(status.st_size))
        os.utime(top / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    known = {
        path: (Stamp.of((top / path[0]).lstat()), hashes)
        for path, (_, hashes) in first.known().items()
        if path[0] in stamps
    }
    second = Indexed(top, known=first.known() | known, workers=2)
    assert second.paths == ["0", "1", "2", "3", "empty", "folder", "new"]
    assert second.indexer.bytes_reused == sum(status.st_size for status in stamps.values())
    assert second.entries[:2] == first.entries[:2]
    assert second.entries[2] == file_entry("2", noise(22, CHUNK + 2))
    assert second.entries[3] == file_entry("3", noise(3, CHUNK + 3), executable=True)
    sound(second.entries)


def test_a_file_replaced_by_an_equally_old_one_of_the_same_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old bytes")
    first = Indexed(path)
    status = path.stat()
    other = tmp_path / "b"
    other.write_bytes(b"new bytes")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)
    assert Indexed(path, known=first.known()).entries == [file_entry("a", b"new bytes")]


# While it is read.


@pytest.mark.parametrize(
    "change",
    [
        lambda path: rewrite(path, noise(9, 4 * CHUNK)),
        lambda path: rewrite(path, noise(9, 9 * CHUNK + 1)),
        lambda path: rewrite(path, b"short"),
        lambda path: rewrite(path, b""),
    ],
    ids=["same size", "longer", "shorter", "emptied"],
)
def test_a_file_that_changes_while_it_is_hashed_is_read_again(tmp_path: Path, change: Callable[[Path], object]) -> None:
    top = build(tmp_path / "top", {"a": noise(1, 4 * CHUNK), "b": b"b"})
    # Asked before the span, and before each chunk.
    indexed = Indexed(top, check=Then(4, lambda: change(top / "a")))
    assert indexed.rounds == 2
    assert indexed.entries == oracle(top)
    assert indexed.warnings == []
    sound(indexed.entries)
    assert indexed.stamps == [Stamp.of((top / name).stat()) for name in "ab"]


def test_bytes_changed_behind_an_old_date_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(noise(1, CHUNK))
    first = Indexed(path)
    status = path.stat()
    path.write_bytes(noise(2, CHUNK))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = Indexed(path, known=first.known())
    assert second.indexer.bytes_reused == 0
    assert second.entries == [file_entry("a", noise(2, CHUNK))]


def test_a_file_of_which_an_earlier_version_knew_no_ctime_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(noise(1, CHUNK))
    first = Indexed(path)
    known = {name: (stamp._replace(ctime_ns=0), hashes) for name, (stamp, hashes) in first.known().items()}
    assert Indexed(path, known=known).indexer.bytes_reused == 0
    assert Indexed(path, known=first.known()).indexer.bytes_reused == CHUNK


def test_a_file_replaced_while_it_is_hashed_is_read_again(tmp_path: Path) -> None:
    spare, path = tmp_path / "spare", tmp_path / "a"
    spare.write_bytes(b"another file")
    path.write_bytes(noise(1, 4 * CHUNK))
    indexed = Indexed(path, check=Then(4, lambda: spare.replace(path)))
    assert indexed.entries == [file_entry("a", b"another file")]
    assert indexed.stamps == [Stamp.of(path.stat())]


def test_a_file_that_keeps_changing_is_given_up_on(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"a": noise(1, 3 * CHUNK), "log": b"line\n"})
    lines = 0

    def append() -> None:
        nonlocal lines
        lines += 1
        rewrite(top / "log", b"line\n" * lines)

    indexer = Indexer([top], {})
    indexer.walk(uncheck)
    rounds = 0
    while True:
        indexer.work(append)
        rounds += 1
        if not indexer.retry():
            break
    assert rounds == indexing.MAX_READS
    with pytest.raises(StorageError, match="log keeps changing"):
        indexer.finish(need_all=True)
    entries, _ = indexer.finish()
    assert [entry.path for entry in entries] == [("a",)]
    assert indexer.skipped_files == [(f"{top}/log", "it keeps changing while it is read")]


def test_a_file_that_comes_to_rest_in_time_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0")
    times = 0

    def change() -> None:
        nonlocal times
        times += 1
        if times <= 4:
            rewrite(path, b"%d" % times)

    indexed = Indexed(path, check=change)
    assert indexed.rounds == 3
    assert indexed.entries == [file_entry("log", b"4")]


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_file_that_vanishes_is_left_out_and_its_neighbours_are_not(tmp_path: Path, name: str) -> None:
    top = build(tmp_path / "top", {"a": b"1", "b": b"2", "c": b"3"})
    indexer = Indexer([top], {})
    indexer.walk(uncheck)
    (top / name).unlink()
    indexer.work(uncheck)
    assert not indexer.retry()
    assert indexer.finish()[0] == oracle(top)
    assert indexer.warnings == [f"skipped {top}/{name}: it is gone"]


def test_what_takes_a_files_place_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 10)
    top = build(tmp_path / "top", dict.fromkeys("abcd", b"0123456789") | {"e/f": b"0123456789"})
    indexer = Indexer([top], {})
    indexer.walk(uncheck)
    for name in "abc":
        (top / name).unlink()
    (top / "a").symlink_to(secret)
    os.mkfifo(top / "b")
    (top / "c").mkdir()
    (top / "e/f").unlink()
    (top / "e").rmdir()
    (top / "e").write_bytes(b"")
    indexer.work(uncheck)
    assert not indexer.retry()
    assert indexer.finish()[0] == [file_entry("d", b"0123456789")]
    assert len(indexer.warnings) == 4


def test_a_pipe_in_the_place_of_a_file_that_changed_is_no_empty_file(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"a": noise(1, 2 * CHUNK), "b": b"b"})

    def replace() -> None:
        os.truncate(top / "a", 5)
        (top / "a").unlink()
        os.mkfifo(top / "a")

    indexed = Indexed(top, check=Then(1, replace))
    assert indexed.paths == ["b"]
    sound(indexed.entries)


def test_the_plain_ways_of_these_tests_agree_with_themselves(tmp_path: Path) -> None:
    top = build(tmp_path / "top", {"a": b"", "b/c": b"1", "d": None})
    assert contents(top) == {"a": b"", "b/c": b"1", "d": None}
    assert oracle(top) == [file_entry("a", b""), file_entry("b/c", b"1"), folder_entry("d")]
    assert chunk_bytes(1) == CHUNK
