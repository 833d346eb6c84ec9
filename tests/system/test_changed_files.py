"""Files that change or vanish while they are shared: noticed, reported, and never served as what they were."""

import os
from pathlib import Path

from tests.support.processes import Peer, chunks_held, make_file, tree, until


def change(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    before = file.stat()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def test_spoilt_files_are_reported_and_not_served(origin: Peer, other: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    changed, removed, good = (make_file(folder / name, 1000, seed) for seed, name in enumerate(("a", "b", "good")))
    with origin.node():
        link = origin.run("share", folder).out.strip()
        change(changed)
        removed.unlink()
        other.run("get", link, "--out", "got", "--wait", "500ms", code=3)
        assert not (tmp_path / "got" / "folder" / "a").exists()
        assert not (tmp_path / "got" / "folder" / "b").exists()
        selected = other.run("get", link, "--out", "got", "--select", "good", "--json").json()
        assert tree(tmp_path / "got" / "folder") == {"good": good.read_bytes()}
        assert selected["seconds"] < 3, "it was here already, and only had to be put into place"
        (row,) = origin.run("shares", "--json").json()
        assert any(str(file) in row["stale"] for file in (changed, removed))
        table = origin.run("shares")
        assert "stale" in table.out
        assert "share it again" in table.err
        assert origin.run("status", "--json").json()["stale"] == ["folder"]
        again = origin.run("share", folder, "--json").json()
        assert again["reused"] == 1000, "only what changed is read again"
        (row,) = origin.run("shares", "--json").json()
        assert row["stale"] is None
        other.run("get", again["link"], "--out", "second")
    assert tree(tmp_path / "second" / "folder") == tree(folder)


def test_a_waiting_fetch_goes_on_when_the_share_is_whole_again(origin: Peer, other: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    bad = make_file(folder / "bad", 1000)
    make_file(folder / "good", 1000, seed=2)
    with origin.node():
        link = origin.run("share", folder).out.strip()
        content = bad.read_bytes()
        bad.unlink()
        with other.start("get", link, "--out", "got") as getting:
            until(lambda: chunks_held(other) == 1, "the good file")
            bad.write_bytes(content)
            assert origin.run("share", folder).out.strip() == link
            assert getting.wait().code == 0
    assert (tmp_path / "got" / "folder" / "bad").read_bytes() == content
