"""A function of this program is called with each item on the machines of volunteers."""

import math
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p import JobAnswer, Peer
from p2p.client import mapping
from p2p.errors import ConfigError, JobError, NotFound
from tests.support import processes
from tests.support.world import World, hint_of
from tests.support.world_jobs import volunteer

RATE = 0.5


def halved(item: Any) -> Any:
    return item * RATE if type(item) is int else item


def hanging(item: int) -> int:
    while item:
        pass
    return item


def broken(item: int) -> Any:
    return object() if item == 3 else item


async def test_items_come_back_in_their_order(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lender, owner = await volunteer(world), await world.peer("owner")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    items = [3, (1, {2: b"\xff"}), None, "ü\n", {1, 2}, -0.0]

    def run() -> None:
        with Peer(owner.home, peers=[str(hint_of(lender))]) as peer:
            mapped = peer.map(halved, items)
            assert mapped.result(processes.PATIENCE_S) == [1.5, *items[1:]]
            assert [row.name for row in peer.jobs()] == ["halved"]
            assert mapped.sent["RATE"] == "RATE = _decode_sent('0.5')"
            assert math.copysign(1, mapped.result(processes.PATIENCE_S)[-1]) == -1
            assert peer.map(halved, range(1000)).result(processes.PATIENCE_S) == [number / 2 for number in range(1000)]
            assert peer.map(halved, []).result(processes.PATIENCE_S) == []
            with pytest.raises(JobError, match="object does not travel"):
                peer.map(broken, range(5)).result(processes.PATIENCE_S)

            # So many bytes are an input, whose share goes with the job.
            large = ["x" * 1000] * 1500
            assert peer.map(halved, large).result(processes.PATIENCE_S) == large
            assert peer.shares() == []

            stopped = peer.map(hanging, [1])
            processes.until(lambda: stopped.progress.view is not None or stopped.is_done, "the job's beginning")
            stopped.stop()
            assert peer.jobs()[0].state == "cancelled"
            assert not any("resume" in note for note in stopped.notes)
            with pytest.raises(ConfigError, match="Item 1 cannot be sent: object does not travel"):
                peer.map(halved, [1, object()])
            left = peer.map(hanging, [1])
            processes.until(lambda: left.progress.view is not None or left.is_done, "the job's beginning")
        with Peer(owner.home) as peer:
            processes.until(lambda: peer.jobs()[0].state == "cancelled", "the end of a job that nobody waits for")
        processes.until(lambda: left.is_done, "its end here")
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("shoal-map-")]

    await trio.to_thread.run_sync(run)


async def test_a_job_ends_though_its_files_are_not_removed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await world.peer("owner")
    failed: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: failed.append(str(failure.exc_value)))

    def fail(mapped: mapping.MappedItems) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(mapping.MappedItems, "remove", fail)

    def run() -> None:
        with Peer(owner.home) as peer, pytest.raises(NotFound):
            peer.map(halved, [1], wait_s=0.01).result(processes.PATIENCE_S)
        processes.until(lambda: failed == ["the disk is gone"], "the failure being told")

    await trio.to_thread.run_sync(run)


def test_a_fork_leaves_the_files_of_a_map(tmp_path: Path) -> None:
    program = """
import os, string, sys
from p2p.client.mapping import MappedItems

mapped = MappedItems(string.capwords, ["a"], ())
if not os.fork():
    sys.exit()
os.wait()
print(mapped.job.exists())
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("True\n", "")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["0\t1\n", "0\t1\n1\t{}\n", "0\t1\nx\t1\n", "0\t1\n1\t\xff\n", '0\t1\n1\t{"set":[[]]}\n']
)
def test_what_no_function_returned_is_refused(tmp_path: Path, text: str) -> None:
    mapped = mapping.MappedItems(halved, [1, 2], ())
    (tmp_path / "part").write_bytes(text.encode("latin-1"))
    with pytest.raises(JobError, match="a volunteer is at fault"):
        mapped.values(JobAnswer(job="", state="done", result=None, paths=(str(tmp_path / "part"),)))
    mapped.remove()
