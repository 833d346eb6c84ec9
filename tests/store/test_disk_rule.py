"""What a disk says of names, and how long names become where a disk holds only short ones."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from p2p.core.shares import names
from p2p.core.shares.local_names import DiskRule
from p2p.errors import StorageError
from p2p.store.disk_rule import ask
from p2p.store.fetches import Fetches
from tests.support.small_shares import CHUNK, Share, noise, settle


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def rule_of(folder: Path, *found: str) -> DiskRule:
    with opened(folder) as descriptor:
        rule = ask(descriptor, [tuple(one.split("/")) for one in found])
    assert os.listdir(folder) == []
    return rule


ODD = ('a?:*"<>|', "aux/nul.txt", "end.", "end ", "\u05e9\u200f", "e\u0301", *map(chr, range(0x4E00, 0x5200)))


def test_a_disk_of_this_machine_holds_everything(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, *ODD)
    assert (rule.refused, rule.ascii_only, rule.refused_ends, rule.refused_stems) == ("", False, "", ())
    assert all(rule.holds(part) for one in ODD for part in one.split("/"))


def test_a_disk_in_memory_holds_everything(small_disk: Callable[[int], Path]) -> None:
    assert rule_of(small_disk(CHUNK), *ODD) == DiskRule()


def test_the_part_name_of_a_long_name_is_short_enough(records: Fetches, tmp_path: Path) -> None:
    share = Share({"x" * names.MAX_PART_BYTES: noise(1, 2 * CHUNK), "é" * 127: b"y"})
    out = tmp_path / "out"
    share.fetch(records, out)
    assert {path.name for path in (out / "share").iterdir()} == {"x" * 255, "é" * 127}


def test_names_are_kept_with_the_fetch(records: Fetches, tmp_path: Path) -> None:
    share = Share({"a?": noise(1, 2 * CHUNK), "b": b"b"})
    out = tmp_path / "out"
    with closing(share.record(records, out)) as record:
        assert record.names is None
        record.keep_names({("share", "a?"): "a_"})
    with closing(share.open(records, out)) as target:
        share.write(target, 0)
        assert target.renamed() == [0]
    with closing(share.open(records, out)) as target:
        assert target.record.has(0)
        share.finish(target)
        settle(target)
        assert target.complete
    assert (out / "share/a_").read_bytes() == noise(1, 2 * CHUNK)
    assert sorted(path.name for path in (out / "share").iterdir()) == ["a_", "b"]


def test_a_new_name_never_replaces_what_is_there(records: Fetches, tmp_path: Path) -> None:
    share = Share({"a?": b"theirs"})
    out = tmp_path / "out"
    (out / "share").mkdir(parents=True)
    (out / "share/a_").write_bytes(b"mine")
    with closing(share.record(records, out)) as record:
        record.keep_names({("share", "a?"): "a_"})
    with pytest.raises(StorageError, match="a_ exists and is a different file"):
        share.open(records, out)
    assert (out / "share/a_").read_bytes() == b"mine"
