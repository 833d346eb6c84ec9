"""What a home uses on a disk that it shares, found by walking it."""

import os
from pathlib import Path

import pytest

from p2p.sandbox.native import disk
from p2p.sandbox.native.disk import Disk
from p2p.sandbox.native.processes import Processes
from tests.support.constants import Shorten

MIB = 1 << 20


def used(home: Path, limit: int = 64 * MIB) -> tuple[str, int]:
    """Why the sandbox would have to end, and what was found. This process stands for one inside."""
    processes = Processes(os.getpid(), idle=False)
    watched = Disk(str(home), processes, {"disk": limit})
    try:
        reason = watched.look()
        return reason, watched.used
    finally:
        processes.forget(os.getpid())


def write(file: Path, size: int) -> None:
    file.write_bytes(os.urandom(size))
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)  # only now it has its blocks
    os.close(descriptor)


def test_files_count_wherever_they_are_and_each_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    write(tmp_path / "a/b/one", 3 * MIB)
    os.link(tmp_path / "a/b/one", tmp_path / "same")
    (tmp_path / "link").symlink_to("/usr")
    reason, found = used(tmp_path)
    assert reason == ""
    assert 3 * MIB <= found < 4 * MIB
    assert used(tmp_path, 2 * MIB)[0] == "it used 3 MiB of disk, and may use 2"


def test_a_folder_that_is_closed_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    write(tmp_path / "closed/file", 3 * MIB)
    (tmp_path / "closed").chmod(0)
    assert used(tmp_path)[1] >= 3 * MIB


def test_a_file_without_a_name_counts_while_it_is_open(tmp_path: Path) -> None:
    write(tmp_path / "file", 3 * MIB)
    with open(tmp_path / "file", "rb"):
        (tmp_path / "file").unlink()
        assert used(tmp_path)[1] >= 3 * MIB
        reason, _ = used(tmp_path, 2 * MIB)
        assert reason == "it used 3 MiB of disk, also by files without a name, and may use 2"
    assert used(tmp_path)[1] < MIB


@pytest.mark.parametrize("bound", ["MAX_FILES", "MAX_DEPTH"])
def test_files_and_depth_have_an_end(tmp_path: Path, shorten: Shorten, bound: str) -> None:
    (tmp_path / "a/b/c/d/e").mkdir(parents=True)
    assert used(tmp_path)[0] == ""
    shorten(disk, bound, 4)
    assert used(tmp_path)[0].startswith("its files are too many")


def test_a_walk_that_takes_long_goes_on_at_the_next_look(tmp_path: Path, shorten: Shorten) -> None:
    for name in range(10):
        (tmp_path / str(name)).mkdir()
    shorten(disk, "_SLICE_S", -1.0)
    processes = Processes(os.getpid(), idle=False)
    watched = Disk(str(tmp_path), processes, {"disk": 64 * MIB})
    looks = 0
    while not watched.used:
        assert watched.look() == ""
        looks += 1
    processes.forget(os.getpid())
    assert looks == 11
