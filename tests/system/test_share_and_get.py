"""Sharing and fetching with foreground commands: what arrives, what is printed where, and the exit codes."""

import re
import signal
from pathlib import Path

import pytest

from tests.support.processes import Peer, chunks_held, make_file, tree, until

MIB = 1024 * 1024


def id_of(link: str) -> str:
    found = re.match(r"shoal:s/([a-z2-7]{52})", link)
    assert found is not None
    return found[1]


def test_a_node_says_who_and_where_it_is_and_ends_well(origin: Peer) -> None:
    with origin.node() as node:
        assert re.fullmatch("[a-z2-7]{52}", node.peer)
        assert re.fullmatch(r"127\.0\.0\.1:\d+", node.address)
        outcome = node.end(signal.SIGTERM)
    assert outcome.code == 0
    assert outcome.out.count("\n") == 1
    assert outcome.err == ""


def test_a_peer_keeps_its_identity(origin: Peer) -> None:
    peers = []
    for _ in range(2):
        with origin.node() as node:
            peers.append(node.peer)
            node.end()
    assert peers[0] == peers[1]
    assert (origin.home / "key.pem").stat().st_mode & 0o777 == 0o600


def test_share_prints_the_link_alone_and_serves_until_interrupted(origin: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "some file.bin", 100_000)
    with origin.start("share", file) as sharing:
        link = sharing.line()
        sharing.says("until Ctrl-C")
        assert sharing.is_running()
        outcome = sharing.end()
    assert outcome.code == 0
    assert outcome.out == f"{link}\n"
    assert link.startswith("shoal:s/")
    assert "/n.some,20file.bin/" in link
    assert "/b.100000/" in link
    assert "@127.0.0.1:" in link


def test_share_answers_with_json(origin: Peer, tmp_path: Path) -> None:
    make_file(tmp_path / "folder" / "a", 1000)
    make_file(tmp_path / "folder" / "b", 500, seed=2)
    with origin.node():
        answer = origin.run("share", "folder", "--name", "Holidays", "--json").json()
    assert answer["link"].startswith("shoal:s/")
    assert answer["id"] == id_of(answer["link"])
    assert (answer["name"], answer["files"], answer["bytes"]) == ("Holidays", 2, 1500)


def test_a_file_arrives_and_its_path_is_printed_alone(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 3 * MIB + 17)
    with origin.sharing(file) as link:
        outcome = other.run("get", link, "--out", "got")
        assert outcome.out == f"{tmp_path / 'got' / 'data.bin'}\n"
        assert "every chunk verified" in outcome.err
        assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()
        again = other.run("get", link, "--out", "got", "--json").json()
    assert again["paths"] == [str(tmp_path / "got" / "data.bin")]
    assert (again["bytes"], again["received"], again["sources"]) == (file.stat().st_size, 0, {})
    assert tree(tmp_path / "got").keys() == {"data.bin"}


def test_flags_say_where_to_listen_and_which_network(tmp_path: Path) -> None:
    flags = ("--listen", "127.0.0.1:0", "--network", "test-flags", "--no-lan", "--no-dht")
    plain = {"SHOAL_NETWORK_LISTEN": "", "SHOAL_NETWORK_NAME": "test-wrong"}
    origin, other = (Peer(tmp_path / name, environment=plain) for name in ("origin", "other"))
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.start("share", file, *flags) as sharing:
        other.run("get", sharing.line(), "--out", "got", *flags)
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()


def test_a_bare_id_needs_a_peer(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node() as node:
        share = id_of(origin.run("share", file).out)
        alone = other.run("get", share, "--out", "got", "--wait", "300ms", code=3)
        assert "--peer HOST:PORT" in alone.err
        other.run("get", share, "--out", "one", "--peer", node.address)
        other.run("get", share, "--out", "two", "--peer", f"{node.peer}@{node.address}")
    assert tree(tmp_path / "one") == tree(tmp_path / "two") == {"data.bin": file.read_bytes()}


def test_several_sources_are_used_at_once(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 6 * MIB)
    second = Peer(tmp_path / "second")
    with origin.node("--upload-limit", "8MiB") as one, second.node("--upload-limit", "8MiB") as two:
        link = origin.run("share", file).out.strip()
        second.run("share", file)
        answer = other.run("get", link, "--out", "got", "--peer", two.address, "--json").json()
        assert answer["sources"].keys() == {one.peer, two.peer}
    assert sum(answer["sources"].values()) == answer["received"] == 6 * MIB
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()


def test_a_selection(origin: Peer, other: Peer, tmp_path: Path) -> None:
    for seed, name in enumerate(("a.txt", "b.bin", "sub/c.txt", "sub/deep/d.bin")):
        make_file(tmp_path / "folder" / name, 1000, seed)
    with origin.sharing(tmp_path / "folder") as link:
        outcome = other.run("get", link, "--out", "got", "--select", "sub", "--select", "*.txt")
        nothing = other.run("get", link, "--out", "none", "--select", "*.jpg", code=2)
    got = tmp_path / "got" / "folder"
    assert tree(got).keys() == {"a.txt", "sub", "sub/c.txt", "sub/deep", "sub/deep/d.bin"}
    assert set(outcome.out.splitlines()) == {str(path) for path in got.rglob("*") if path.is_file()}
    assert "*.jpg" in nothing.err
    assert "a.txt" in nothing.err, "it should say what there is"


def test_in_order(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 16 * MIB)
    with origin.sharing(file) as link:
        with other.start("get", link, "--out", "got", "--sequential", "--limit", "4MiB") as getting:
            until(lambda: chunks_held(other) >= 8, "eight chunks")
            getting.end(signal.SIGKILL)
        (held,) = (other.home / "fetches").glob("*.have")
        assert int.from_bytes(held.read_bytes(), "little").bit_length() <= 32, "of 64 chunks, the first come first"
        other.run("get", link, "--out", "got", "--sequential")
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()


def test_what_is_there_is_not_overwritten_unless_asked(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    (tmp_path / "got").mkdir()
    mine = tmp_path / "got" / "data.bin"
    mine.write_text("mine")
    with origin.sharing(file) as link:
        refused = other.run("get", link, "--out", "got", code=1)
        assert refused.out == ""
        assert str(mine) in refused.err
        assert "--overwrite" in refused.err
        assert mine.read_text() == "mine"
        other.run("get", link, "--out", "got", "--overwrite")
    assert mine.read_bytes() == file.read_bytes()


def test_a_limit_holds(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 4 * MIB)
    with origin.sharing(file) as link:
        answer = other.run("get", link, "--out", "got", "--limit", "4MiB", "--json").json()
    assert 0.6 < answer["seconds"] < 5


def test_nobody_there_within_the_time_given(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.sharing(file) as link:
        pass
    outcome = other.run("get", link, "--out", "got", "--wait", "2s", code=3)
    assert outcome.out == ""
    assert "cannot be reached" in outcome.err
    assert "again" in outcome.err


def test_a_source_that_comes_later_is_found(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    with origin.node() as node:
        link = origin.run("share", file).out.strip()
        address = node.address
        node.end()
    with other.start("get", link, "--out", "got") as getting:
        getting.says("waiting for sources")
        with origin.node("--listen", address):
            assert getting.wait().code == 0
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()


def test_networks_do_not_mix(origin: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 1000)
    stranger = Peer(tmp_path / "stranger", network="test-elsewhere")
    with origin.sharing(file) as link:
        outcome = stranger.run("get", link, "--out", "got", "--wait", "2s", code=3)
    assert "network" in outcome.err
    assert not (tmp_path / "got" / "data.bin").exists()


def test_a_folder_of_many_small_files_arrives_identical(origin: Peer, other: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for number in range(2000):
        make_file(folder / f"{number % 20}" / f"file {number}.txt", number % 97 * 13, seed=number)
    (folder / "nothing at all").mkdir()
    make_file(folder / "empty file", 0)
    program = make_file(folder / "program", 10)
    program.chmod(0o755)
    with origin.sharing(folder) as link:
        outcome = other.run("get", link, "--out", "got")
    assert outcome.out == f"{tmp_path / 'got' / 'folder'}\n"
    assert tree(tmp_path / "got" / "folder") == tree(folder)
    assert (tmp_path / "got" / "folder" / "program").stat().st_mode & 0o100
    assert not (tmp_path / "got" / "folder" / "empty file").stat().st_mode & 0o100


@pytest.mark.parametrize("name", ["-rf", "Grüße 🐟", "a&b=c#d%20"])
def test_names_survive_the_link(name: str, origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "in" / name, 1000)
    with origin.sharing(file) as link:
        other.run("get", link, "--out", "got")
    assert tree(tmp_path / "got") == {name: file.read_bytes()}
