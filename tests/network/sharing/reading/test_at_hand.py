"""Files kept open to be read at once: with the bytes that a thread would read, and never those of another file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2p.ids import ShareId
from p2p.sharing.reading import at_hand
from p2p.sharing.reading.at_hand import AtHand
from p2p.store.stamps import Stamp
from tests.support.constants import Shorten

SHARE, OTHER = ShareId(bytes(32)), ShareId(b"o" * 32)
TRUTH = os.urandom(100_000)


@pytest.fixture
def kept() -> Iterator[AtHand]:
    made = AtHand()
    yield made
    for share in (SHARE, OTHER):
        made.forget(share)
    made.sweep()
    assert len(made) == 0


def offer(kept: AtHand, path: Path, entry: int = 0, share: ShareId = SHARE) -> Stamp:
    descriptor = os.open(path, os.O_RDONLY)
    kept.offer((share, entry), descriptor)
    stamp = Stamp.of(os.fstat(descriptor))
    os.close(descriptor)
    return stamp


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(TRUTH)
    with path.open("rb") as opened:
        try:
            os.preadv(opened.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except (AttributeError, OSError):
            pytest.skip("this disk does not say what is in memory")
    return path


def test_what_is_in_memory_is_read_at_once(kept: AtHand, file: Path) -> None:
    assert kept.read((SHARE, 0), Stamp(0, 0, 0), 0, 10) is None
    stamp = offer(kept, file)
    room = bytearray(10)
    assert kept.read((SHARE, 0), stamp, 1000, 10, room) is room
    assert room == TRUTH[1000:1010]
    assert bytes(kept.read((SHARE, 0), stamp, 1000, 20, room) or b"") == TRUTH[1000:1020]
    assert bytes(kept.read((SHARE, 0), stamp, 0, len(TRUTH)) or b"") == TRUTH
    assert kept.read((SHARE, 0), stamp, 1, len(TRUTH)) is None
    assert kept.read((SHARE, 1), stamp, 0, 1) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(bytes(len(TRUTH))),
        lambda path: path.unlink(),
        lambda path: (path.parent / "new").write_bytes(bytes(len(TRUTH))) and (path.parent / "new").replace(path),
    ],
)
def test_a_file_that_changes_is_left_to_those_who_judge(
    kept: AtHand, file: Path, change: Callable[[Path], object]
) -> None:
    stamp = offer(kept, file)
    assert kept.read((SHARE, 0), stamp, 0, 10) is not None
    os.utime(file, ns=(0, 0))  # so that no clock is too coarse
    change(file)
    assert kept.read((SHARE, 0), stamp, 0, 10) is None


def test_few_are_kept_open(kept: AtHand, file: Path, shorten: Shorten) -> None:
    shorten(at_hand, "KEPT_OPEN", 3)
    before = len(os.listdir("/proc/self/fd"))
    for entry in range(6):
        stamp = offer(kept, file, entry)
        offer(kept, file, entry)
        assert kept.read((SHARE, entry), stamp, 0, 1) is not None
        assert kept.read((SHARE, 0), stamp, 0, 1) is not None or entry > 3
    kept.sweep()
    assert len(os.listdir("/proc/self/fd")) == before + 3
    assert [entry for entry in range(6) if kept.read((SHARE, entry), stamp, 0, 1) is not None] == [0, 4, 5]
    offer(kept, file, share=OTHER)
    kept.forget(SHARE)
    kept.sweep()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert kept.read((SHARE, 0), stamp, 0, 1) is None
    assert kept.read((OTHER, 0), stamp, 0, 1) is not None


def test_few_are_kept_open_though_nobody_reads_at_once(kept: AtHand, file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for entry in range(100):
        offer(kept, file, entry)
    assert len(os.listdir("/proc/self/fd")) == before + at_hand.KEPT_OPEN


def test_where_no_disk_says_nothing_is_kept(kept: AtHand, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_hand, "_NOWAIT", None)
    stamp = offer(kept, file)
    assert (len(kept), kept.read((SHARE, 0), stamp, 0, 1)) == (0, None)
