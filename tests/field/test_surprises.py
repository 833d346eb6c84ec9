"""A: one surprise ended the whole peer, or the machines of others."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from p2p.control.answers import StatusAnswer
from p2p.control.protocol import Event, StatusRequest
from p2p.errors import JobError
from p2p.store import posix
from tests.support.processes import SHOAL, Peer, make_file
from tests.support.world import World, hint_of
from tests.support.world_jobs import SUM, run_job, volunteer, write_job

FORGED = """
import os

def job(inputs):
    def forge(number):
        head = b'{"ok":"unit","records_in":%d,"records_out":%d,"blobs":[5]}'
        frame = len(head).to_bytes(4, "big") + head + b"12345"
        os.write(1, len(frame).to_bytes(4, "big") + frame)
        return number
    return inputs.range(4).map(forge).sum()
"""


def test_a_path_that_the_disk_refuses_ends_its_command_alone(tmp_path: Path) -> None:
    """libfuse/sshfs#3, #202; mitre/fusera#164: folders of others, dead mounts, and names that are too long."""
    (tmp_path / "loop").symlink_to("loop")
    file, peer = make_file(tmp_path / "file", 1000), Peer(tmp_path / "home")
    (tmp_path / "job.py").write_text("def job(inputs):\n    return inputs.lines().count()\n")
    with peer.node() as node:
        link = peer.run("share", file).out.strip()
        for bad in ("a" * 300, "loop/file", "x/" * 3000):
            peer.run("share", tmp_path / bad, code=1)
            peer.run("run", tmp_path / bad, code=2)
            peer.run("run", tmp_path / "job.py", "--input", tmp_path / bad, code=1)
            peer.run("get", link, "--out", tmp_path / bad, code=1)
        assert node.is_running()
        assert peer.run("status", "--json").json()["bugs"] == 0


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path) -> None:
    """`shoal share "$UNSET"` shared the whole folder, and an empty --home put a key there."""
    peer = Peer(tmp_path / "home")
    link = f"magnet:?xt=urn:shoal:{'a' * 51}q"
    for command in (["share", ""], ["run", ""], ["get", link, "--out", ""], ["--home", "", "shares"]):
        assert "empty" in peer.run(*command, code=2).err
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]


def test_a_peer_lives_with_few_descriptors(tmp_path: Path) -> None:
    """qBittorrent#8296, aria2#257: idle connections took all descriptors, and then no command came through."""
    file = make_file(tmp_path / "file", 1000)
    few = Peer(tmp_path / "few", command=("/bin/sh", "-c", 'ulimit -n 48; exec "$0" "$@"', *SHOAL))
    with few.node() as node, ExitStack() as stack:
        host, _, port = node.address.rpartition(":")
        for _ in range(60):
            stack.enter_context(socket.create_connection((host, int(port))))
        link = few.run("share", file).out.strip()
        Peer(tmp_path / "other").run("get", link, "--peer", node.address, "--out", tmp_path / "out")
        assert few.run("status", "--json").json()["bugs"] == 0
        assert node.is_running()
    assert (tmp_path / "out" / "file").read_bytes() == file.read_bytes()


async def checkpoint(event: Event) -> None:
    await trio.lowlevel.checkpoint()


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_status_is_told_without_a_free_descriptor(world: World) -> None:
    """psutil opens a file to see how much memory a process has."""
    local = await world.peer("local")
    with no_free_descriptor():
        answer = await local.operations.perform(StatusRequest(), checkpoint, keep_serving=True)
    assert isinstance(answer, StatusAnswer)
    assert answer.memory_bytes is None


def test_a_system_that_cannot_be_asked_ends_nothing() -> None:
    """Containers without /proc: no peer began there, as it wanted to know how much memory there is."""
    there = posix.machine_memory_bytes()
    with no_free_descriptor():
        assert posix.machine_memory_bytes() == pytest.approx(there, rel=0.1)
        assert posix.boot_id() != posix.boot_id()  # so nothing is believed that a reboot might have undone


@pytest.mark.parametrize("number", [10**30, -1])
async def test_a_number_that_a_guest_makes_up_ends_its_job_alone(world: World, compiled: None, number: int) -> None:
    """Six lines in a job ended every volunteer that took it."""
    owner, working = await world.peer("owner"), await volunteer(world)
    with pytest.raises(JobError):
        await run_job(owner, write_job(world, FORGED % (number, 0), "forged.py"), [hint_of(working)])
    assert (await run_job(owner, write_job(world, SUM), [hint_of(working)])).result == sum(i * i for i in range(60))
