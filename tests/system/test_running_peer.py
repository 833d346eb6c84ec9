"""Commands that talk to a running peer through its control socket."""

import itertools
import os
import stat
from pathlib import Path

from p2p import ids
from p2p.core.shares import manifest as manifests
from tests.support.processes import Peer, chunks_held, make_file, until

MIB = 1024 * 1024


def share_id_of_small(file: Path) -> str:
    """The id that the share of a file of one chunk gets."""
    data = file.read_bytes()
    entry = manifests.Entry(manifests.EntryKind.FILE, (file.name,), len(data), False, manifests.hash_chunk(data))
    root, _ = manifests.encode(file.name, [entry], single=True)
    return ids.to_text(manifests.share_id_of(root))


def test_a_fetched_share_is_served_until_unshared(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 2 * MIB)
    third = Peer(tmp_path / "third")
    with other.node() as node:
        with origin.sharing(file) as link:
            assert other.run("get", link, "--out", "got").out == f"{tmp_path / 'got' / 'data.bin'}\n"
        (row,) = other.run("shares", "--json").json()
        assert row["fetched"]
        assert row["paths"] == [str(tmp_path / "got" / "data.bin")]
        # The origin is gone.
        answer = third.run("get", link, "--out", "third-got", "--peer", node.address, "--json").json()
        assert answer["sources"] == {node.peer: 2 * MIB}
        other.run("unshare", link)
        assert other.run("shares", "--json").json() == []
        third.run("get", link, "--out", "again", "--peer", node.address, "--wait", "500ms", code=3)
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes(), "its files stay"


def test_a_path_that_is_not_utf8_is_listed_by_a_running_peer(origin: Peer, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/\xff"))
    folder.mkdir()
    file = make_file(folder / "data.bin", 1000)
    with origin.sharing(file):
        (row,) = origin.run("shares", "--json").json()
        assert row["paths"] == [str(tmp_path / "?" / "data.bin")]
        assert "not UTF-8" in origin.run("share", file, code=2).err
        assert len(origin.run("shares", "--json").json()) == 1


def test_shares_outlive_the_peer_that_made_them(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node():
        origin.run("share", file)
    with origin.node() as node:
        (row,) = origin.run("shares", "--json").json()
        assert node.address in row["link"]
        other.run("get", row["link"], "--out", "got")
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()


def test_unshare_by_the_beginning_of_an_id_or_a_link(origin: Peer, tmp_path: Path) -> None:
    with origin.node():
        links = [origin.run("share", make_file(tmp_path / f"{seed}", 100, seed)).out.strip() for seed in range(2)]
        rows = {row["name"]: row for row in origin.run("shares", "--json").json()}
        assert {row["link"] for row in rows.values()} == set(links)
        first = rows["0"]["id"]
        answer = origin.run("unshare", first[:10], "--json")
        assert answer.json() == {"id": first, "name": "0"}
        said = origin.run("unshare", links[1])
        assert said.out == ""
        assert "files stay" in said.err
        unknown = origin.run("unshare", first[:10], code=1)
        assert "shoal shares" in unknown.err
        assert origin.run("shares", "--json").json() == []
    assert (tmp_path / "0").exists()


def test_an_ambiguous_beginning_is_refused(origin: Peer, tmp_path: Path) -> None:
    first: dict[str, Path] = {}
    for seed in itertools.count():
        file = make_file(tmp_path / f"{seed}", 10, seed)
        letter = share_id_of_small(file)[0]
        if letter in first:
            break
        first[letter] = file
    with origin.node():
        for path in (file, first[letter]):
            origin.run("share", path)
        assert "Give more of it" in origin.run("unshare", letter, code=2).err
        assert len(origin.run("shares", "--json").json()) == 2


def test_what_a_peer_tells_of_itself(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 16 * MIB)
    with origin.node() as node:
        assert origin.run("peers", "--json").json() == []
        assert "Nobody is exchanging shares" in origin.run("peers").err
        assert "shoal share PATH" in origin.run("shares").err
        link = origin.run("share", file).out.strip()
        with other.start("get", link, "--out", "got", "--limit", "256KiB"):
            until(lambda: chunks_held(other) >= 2, "two chunks")
            (row,) = origin.run("peers", "--json").json()
            assert (row["role"], row["share"]) == ("share", "data.bin")
            assert row["uploaded"] > 0
            assert not row["dialed"]
            status = origin.run("status", "--json").json()
            assert (status["peer"], status["addresses"]) == (node.peer, [node.address])
            assert (status["shares"], status["shared_bytes"], status["connections"]) == (1, 16 * MIB, 1)
            assert status["network"] == "test-system"
            heading, line = origin.run("peers").out.splitlines()
            assert heading.split()[:3] == ["peer", "address", "what"]
            assert line.startswith(row["peer"][:16] + " ")
            table = other.run("status").out
            assert "fetching" in table
            assert "data.bin" in table
        heading, line = origin.run("shares").out.splitlines()
        assert heading.split()[:3] == ["id", "name", "size"]
        assert "data.bin" in line
        assert str(file) in line


def test_network_options_are_ignored_with_a_note(origin: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node() as node:
        outcome = origin.run("share", file, "--listen", "127.0.0.1:0")
        assert "ignored" in outcome.err
        assert node.address in outcome.out


def test_a_relative_path_is_the_commands_own(origin: Peer, other: Peer, tmp_path: Path) -> None:
    make_file(tmp_path / "data.bin", 1000)
    with origin.node(), other.node():
        link = origin.run("share", "data.bin").out.strip()
        (tmp_path / "elsewhere").mkdir()
        there = Peer(tmp_path / "elsewhere" / "unused")
        answer = there.run("--home", other.home, "get", link).out
    assert answer == f"{tmp_path / 'elsewhere' / 'data.bin'}\n"


def test_a_waiting_foreground_command_serves_the_others(origin: Peer, tmp_path: Path) -> None:
    with origin.sharing(make_file(tmp_path / "one", 100)):
        origin.run("share", make_file(tmp_path / "two", 100, seed=2))
        names = {row["name"] for row in origin.run("shares", "--json").json()}
    assert names == {"one", "two"}


def test_the_control_socket_is_private(origin: Peer) -> None:
    with origin.node() as node:
        socket = origin.home / "control.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(origin.home.stat().st_mode) == 0o700
        node.end()
    assert not socket.exists()


def test_a_long_home_moves_its_socket(tmp_path: Path) -> None:
    runtime = Path(f"/tmp/shoal-test-{os.getpid()}")
    peer = Peer(tmp_path / ("long" * 30), environment={"XDG_RUNTIME_DIR": str(runtime)})
    try:
        with peer.node() as node:
            assert not (peer.home / "control.sock").exists()
            (socket,) = runtime.iterdir()
            assert stat.S_IMODE(socket.stat().st_mode) == 0o600
            assert peer.run("status", "--json").json()["peer"] == node.peer
            node.end()
        assert list(runtime.iterdir()) == []
    finally:
        runtime.rmdir()
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    refused = peer.run("node", code=1, XDG_RUNTIME_DIR=str(nowhere))
    assert "XDG_RUNTIME_DIR" in refused.err
