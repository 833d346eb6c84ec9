"""What the disk says about paths that users name: an answer, or an error with words, whatever the disk does."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from p2p.errors import ConfigError, StorageError
from p2p.paths import PathKind, absolute, exists, kind_of, resolved, to_make


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    assert kind_of(tmp_path) is PathKind.FOLDER
    assert kind_of(tmp_path / "file") is PathKind.FILE
    assert kind_of(tmp_path / "link") is PathKind.FILE
    assert kind_of(tmp_path / "pipe") is PathKind.OTHER
    assert kind_of(tmp_path / "nowhere") is PathKind.MISSING
    assert kind_of(tmp_path / "file" / "below") is PathKind.MISSING
    assert exists(tmp_path / "file")
    assert not exists(tmp_path / "missing")


def test_a_path_that_is_too_deep_to_be_made_is_refused(tmp_path: Path) -> None:
    """It was a RecursionError, a bug of Shoal's, while its folders were made."""
    assert to_make(Path("/", *"a" * 200))
    with pytest.raises(StorageError, match="more than 300 folders"):
        to_make(Path("/", *"a" * 2000))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ENAMETOOLONG])
def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(path: object, **options: object) -> NoReturn:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(StorageError, match=os.strerror(number)):
        kind_of(tmp_path)


def test_a_loop_of_links_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError):
        kind_of(tmp_path / "loop")
    with pytest.raises(StorageError):
        resolved(tmp_path / "loop" / "file")


def test_what_is_no_path_is_said_to_be_none(tmp_path: Path) -> None:
    for ask in (kind_of, resolved):
        with pytest.raises(ConfigError, match="not a path"):
            ask(tmp_path / "a\0b")


def test_a_current_folder_that_is_gone_is_said_to_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigError, match="current folder is gone"):
        absolute(Path("file"))
