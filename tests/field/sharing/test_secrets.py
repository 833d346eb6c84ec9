"""What must not be shared is refused at every way in."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from p2p.homes import KEY_FILE
from tests.support.processes import PATIENCE_S, SHOAL, Peer


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    """A peer that has run, in the home of a user."""
    (tmp_path / "ann").mkdir()
    made = Peer(tmp_path / "ann" / "shoal", environment={"HOME": str(tmp_path / "ann")})
    with made.node():
        pass
    return made


def test_a_peers_home_does_not_leave_the_machine(peer: Peer, tmp_path: Path) -> None:
    job = tmp_path / "job" / "job.py"
    job.parent.mkdir()
    job.write_text("def job(inputs): return 1")
    other = Peer(tmp_path / "other")
    around = tmp_path / "around"
    around.mkdir()
    peer.home.rename(around / "moved")  # as a backup of it
    moved = around / "moved"
    for command in (
        ("share", moved),
        ("share", moved / KEY_FILE, "--yes"),
        ("share", around),
        ("run", job, "--input", around),
        ("run", job, "--with", moved / KEY_FILE),
    ):
        assert "the home of a Shoal peer" in other.run(*command, code=2).err
    moved.rename(job.parent / "moved")
    assert "the home of a Shoal peer" in other.run("run", job.parent, code=2).err


def test_the_rest_of_a_folder_with_a_home_can_be_shared(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "ann" / "notes").write_text("notes")
    with peer.node():
        answer = peer.run("share", tmp_path / "ann", "--exclude", "/shoal", "--yes", "--json").json()
    assert answer["files"] == 1


def test_a_home_directory_is_shared_only_if_that_is_meant(peer: Peer, tmp_path: Path) -> None:
    user = tmp_path / "ann"
    (user / ".ssh").mkdir()
    (user / ".ssh" / "id").write_text("secret")
    with peer.node():
        for path in (user, user / ".ssh", user / ".ssh" / "id"):
            assert "--yes" in peer.run("share", path, code=2).err
        assert _typed(peer, user / ".ssh", "ssh") == 2
        assert peer.run("shares", "--json").json() == []
        assert _typed(peer, user / ".ssh", ".ssh") == 0
        assert peer.run("share", user / ".ssh" / "id", "--yes", "--json").json()["files"] == 1


def _typed(peer: Peer, path: Path, name: str) -> int:
    """Shares a path from a terminal, where the user types a name. Returns the exit code."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{name}\n".encode())
        command = [*SHOAL, "--home", str(peer.home), "share", str(path)]
        environment = {**os.environ, "HOME": str(peer.home.parent)}
        return subprocess.run(
            command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, timeout=PATIENCE_S, env=environment
        ).returncode
    finally:
        os.close(ours)
        os.close(theirs)
