"""The cache: what is in it, since when it was not used, and what it takes of the disk."""

import os
from pathlib import Path

import pytest

from p2p.errors import StorageError
from p2p.ids import ShareId, to_text
from p2p.store.cache import Cache
from tests.support.small_shares import CHUNK, noise

ONE, OTHER = ShareId(b"1" * 32), ShareId(b"2" * 32)


def fill(cache: Cache, share: ShareId, size: int) -> None:
    folder = cache.folder(share) / "deep"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(noise(1, size))


def used(cache: Cache, share: ShareId, when: float) -> None:
    os.utime(cache.folder(share), (when, when))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "inputs")


def test_there_is_nothing_at_first(cache: Cache) -> None:
    assert cache.all() == []
    cache.touch(ONE)
    cache.drop(ONE)
    assert cache.all() == []


def test_the_longest_unused_is_the_first(cache: Cache) -> None:
    for share in (ONE, OTHER):
        fill(cache, share, CHUNK)
    used(cache, ONE, 1000)
    used(cache, OTHER, 2000)
    assert [cached.share for cached in cache.all()] == [ONE, OTHER]
    cache.touch(ONE)
    assert [cached.share for cached in cache.all()] == [OTHER, ONE]
    cache.drop(OTHER)
    assert [cached.share for cached in cache.all()] == [ONE]
    assert not cache.folder(OTHER).exists()


def test_only_what_is_there_of_a_file_counts(cache: Cache) -> None:
    fill(cache, ONE, CHUNK)
    with (cache.folder(ONE) / "deep" / "file").open("r+b") as file:
        file.truncate(1000 * CHUNK)
    [cached] = cache.all()
    assert CHUNK <= cached.size <= 2 * CHUNK


def test_what_else_lies_there_is_left_alone(cache: Cache, tmp_path: Path) -> None:
    fill(cache, ONE, 1)
    (tmp_path / "inputs" / "notes").mkdir()
    (tmp_path / "inputs" / to_text(OTHER)[:-1]).touch()
    assert [cached.share for cached in cache.all()] == [ONE]


def test_a_disk_that_cannot_be_read_is_said(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "inputs").touch()
    with pytest.raises(StorageError, match="inputs"):
        cache.all()
