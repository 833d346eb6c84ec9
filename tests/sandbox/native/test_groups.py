"""Control groups: what is written to the kernel's folders, tried on ordinary ones; and one of the kernel's own."""

import os
import signal
from pathlib import Path

import pytest

from p2p.sandbox.native import groups
from p2p.sandbox.native.groups import Group

LIMITS = {"cores": 3, "memory": 1 << 30, "disk": 1, "processes": 100}


def delegate(folder: Path, controllers: str, handed_on: str = "", processes: str = "") -> str:
    """A folder with the files of a group."""
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text(handed_on)
    (folder / "cgroup.procs").write_text(processes)
    return str(folder)


def test_a_sandboxs_limits_are_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = groups.make(str(tmp_path), "7", LIMITS, idle=True)
    assert group is not None
    group.enter()
    written = {file.name: file.read_text() for file in (tmp_path / "shoal-sandbox-7").iterdir()}
    assert written == {
        "memory.max": str(1 << 30),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "300000 100000",
        "cpu.weight": "1",
        "cpu.idle": "1",
        "pids.max": "102",
        "cgroup.procs": "0",
    }
    (tmp_path / "shoal-sandbox-7/memory.current").write_text("5000\n")
    (tmp_path / "shoal-sandbox-7/pids.current").write_text("12\n")
    assert group.use() == (5000, 12)
    assert not group.ran_out()
    (tmp_path / "shoal-sandbox-7/memory.events").write_text("low 0\noom 1\noom_kill 3\n")
    assert group.ran_out()


def test_groups_that_a_killed_peer_left_are_removed(tmp_path: Path) -> None:
    (tmp_path / "shoal-sandbox-6").mkdir()
    (tmp_path / "another").mkdir()
    groups.make(str(tmp_path), "7", LIMITS, idle=False)
    assert sorted(os.listdir(tmp_path)) == ["another", "shoal-sandbox-7"]


def test_a_group_is_used_only_where_it_is_delegated_whole(tmp_path: Path) -> None:
    peer = os.getpid()
    assert groups.delegated(delegate(tmp_path, "cpu pids"), peer) is None
    assert groups.delegated(delegate(tmp_path, "cpu memory pids io", "cpu memory pids"), peer) == str(tmp_path)
    assert groups.delegated(delegate(tmp_path, "cpu memory pids"), peer) == str(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    (tmp_path / "shoal-peer").mkdir()
    assert groups.delegated(str(tmp_path / "shoal-peer"), peer) == str(tmp_path)
    assert groups.delegated("", peer) is None


def test_the_peer_moves_aside_unless_others_are_in_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True, False])
    monkeypatch.setattr(groups, "_hand_on", lambda _: next(answers))
    assert groups.delegated(delegate(tmp_path, "cpu memory pids", processes=f"{os.getpid()}\n"), os.getpid())
    assert (tmp_path / "shoal-peer/cgroup.procs").read_text() == str(os.getpid())
    others = delegate(tmp_path, "cpu memory pids", processes=f"{os.getpid()}\n{os.getppid()}\n")
    assert groups.delegated(others, os.getpid()) is None


def test_a_group_of_the_kernel_ends_with_all_that_is_in_it() -> None:
    here = groups.own()
    if here is None or not os.access(here, os.W_OK):
        pytest.skip("this machine has no control groups of version 2 that this user may make")
    path = Path(here) / f"shoal-test-{os.getpid()}"
    path.mkdir()
    group = Group(str(path))
    child = os.fork()
    if not child:
        group.enter()
        signal.pause()
    try:
        while not (path / "cgroup.procs").read_text():
            pass
        group.close()
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    finally:
        group.close()
    assert not path.exists()
