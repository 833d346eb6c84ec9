"""What is left out of a share: by patterns, by `.shoalignore`, and Shoal's own unfinished files."""

import os
from pathlib import Path

import pytest

from p2p.errors import ConfigError
from p2p.ignore import IGNORE_FILE, MAX_FILE_BYTES
from p2p.store.indexing import Indexer
from tests.support.small_shares import uncheck


def made(top: Path, *files: str) -> Path:
    for file in files:
        path = top / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return top


def indexed(*paths: Path, exclude: tuple[str, ...] = ()) -> tuple[list[str], Indexer]:
    indexer = Indexer(paths, {}, exclude)
    indexer.walk(uncheck)
    indexer.work(uncheck)
    return ["/".join(entry.path) for entry in indexer.finish()[0]], indexer


def test_patterns_leave_out_files_and_whole_folders(tmp_path: Path) -> None:
    made(tmp_path, "a.txt", "a.tmp", "cache/big", "deep/b.tmp", "deep/c")
    found, indexer = indexed(tmp_path, exclude=("*.tmp", "cache/"))
    assert found == ["a.txt", "deep/c"]
    assert (indexer.left_out, indexer.skipped, indexer.warnings) == (3, 0, [])


def test_an_ignore_file_holds_for_its_folder_and_is_left_out_itself(tmp_path: Path) -> None:
    made(tmp_path, "a.txt", "a.tmp", "sub/a.tmp")
    (tmp_path / IGNORE_FILE).write_bytes(b"\xef\xbb\xbf# ours\r\n\r\n*.tmp\r\n!sub/a.tmp\r\n")
    assert indexed(tmp_path)[0] == ["a.txt", "sub/a.tmp"]
    assert indexed(tmp_path, exclude=("sub/",))[0] == ["a.txt"]


def test_of_several_folders_each_has_its_own(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one", "a", "b"), made(tmp_path / "other", "a", "b")
    (one / IGNORE_FILE).write_text("/a\n")
    single = made(tmp_path, "a") / "a"
    assert indexed(one, other)[0] == ["one/b", "other/a", "other/b"]
    assert indexed(one, other, single, exclude=("/b",))[0] == ["a", "other/a"]
    assert indexed(one, single, exclude=("a",))[0] == ["one/b"]


def test_what_is_left_out_is_not_looked_at(tmp_path: Path) -> None:
    made(tmp_path, "a")
    os.symlink("a", tmp_path / "link")
    (tmp_path / os.fsdecode(b"na\xefve")).write_bytes(b"x")
    _, indexer = indexed(tmp_path, exclude=("link", os.fsdecode(b"na\xefve")))
    assert (indexer.skipped, indexer.left_out) == (0, 2)


def test_an_ignore_file_in_utf_16_shares_nothing(tmp_path: Path) -> None:
    """Its patterns fitted no file, and what it was to keep back was shared."""
    made(tmp_path, "secret")
    (tmp_path / IGNORE_FILE).write_text("secret\n", "utf-16")
    with pytest.raises(ConfigError, match="may be UTF-16"):
        indexed(tmp_path)


def test_an_ignore_file_that_cannot_be_used_shares_nothing(tmp_path: Path) -> None:
    made(tmp_path, "secret")
    path = tmp_path / IGNORE_FILE
    path.symlink_to("elsewhere")
    with pytest.raises(ConfigError, match=r"is a symbolic link\. .* it says what not to share"):
        indexed(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        indexed(tmp_path)
    path.rmdir()
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        indexed(tmp_path)
    path.write_text("fine\n[not\n")
    with pytest.raises(ConfigError, match=r"'\[not' is not a pattern"):
        indexed(tmp_path)


def test_unfinished_files_of_fetches_are_left_out(tmp_path: Path) -> None:
    """Source: transmission#671."""
    made(tmp_path, "film.mkv.abcdefg7.part", "sub/.abcdefg7.12.part", "mine.part", "a.ABCDEFG1.part")
    found, indexer = indexed(tmp_path)
    assert found == ["a.ABCDEFG1.part", "mine.part"]
    assert indexer.skipped == 2
    assert all("the unfinished file of a fetch" in text for text in indexer.warnings)
