"""What can go wrong when a peer starts: settings, key, database, home, ports. Each ends with one clear line."""

import os
import socket
import sqlite3
import tomllib
from pathlib import Path

import pytest

from tests.support.processes import Outcome, Peer, until

BARE = {"SHOAL_NETWORK_LISTEN": "", "SHOAL_NETWORK_NAME": "test-system"}


def one_line(outcome: Outcome) -> str:
    """The only thing it says."""
    assert outcome.out == ""
    assert outcome.err.startswith("shoal: ")
    assert outcome.err.count("\n") == 1
    return outcome.err


def test_settings_and_their_origins(origin: Peer) -> None:
    origin.home.mkdir()
    (origin.home / "config.toml").write_text("[transfer]\nmax_sources = 7\nupload_slots = 8\n")
    outcome = origin.run("config", SHOAL_TRANSFER_UPLOAD_SLOTS="9")
    settings = tomllib.loads(outcome.out)
    assert settings["transfer"]["max_sources"] == 7
    assert settings["transfer"]["upload_slots"] == 9
    assert settings["network"]["listen"] == ["127.0.0.1:0"]
    origins = {line.split(" = ")[0]: line.rpartition("  # ")[2] for line in outcome.out.splitlines() if "=" in line}
    assert origins["max_sources"] == str(origin.home / "config.toml")
    assert origins["upload_slots"] == "environment"
    assert origins["slot_quantum_s"] == "default"
    assert origin.run("config", "--json").json()["transfer"]["upload_slots"] == 8
    assert sorted(path.name for path in origin.home.iterdir()) == ["config.toml"], "looking changes nothing"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[transfer]\nupload_slot = 3\n", "transfer.upload_slot"),
        ("[transfers]\n", "transfers"),
        ("[transfer]\nupload_slots = 'many'\n", "transfer.upload_slots"),
        ("[transfer]\nupload_slots = 0\n", "transfer.upload_slots"),
        ("[network]\nname = 'Not Good'\n", "network.name"),
        ("[network\n", "TOML"),
    ],
)
def test_bad_settings_are_refused_with_file_and_key(text: str, complaint: str, origin: Peer) -> None:
    origin.home.mkdir()
    (origin.home / "config.toml").write_text(text)
    line = one_line(origin.run("config", code=2))
    assert complaint in line
    assert str(origin.home / "config.toml") in line


def test_a_bad_variable_is_named(origin: Peer) -> None:
    line = one_line(origin.run("node", code=2, SHOAL_TRANSFER_UPLOAD_SLOTS="many"))
    assert "SHOAL_TRANSFER_UPLOAD_SLOTS" in line


def test_one_home_is_one_peer(origin: Peer) -> None:
    with origin.node() as node:
        line = one_line(origin.run("node", code=1))
        assert str(origin.home) in line
        assert "--home" in line
        assert node.is_running()
        assert origin.run("status", "--json").json()["peer"] == node.peer


def test_of_two_started_at_once_one_runs(origin: Peer) -> None:
    with origin.start("node") as one, origin.start("node") as two:
        until(lambda: not (one.is_running() and two.is_running()), "the end of one of them")
        loser, winner = (two, one) if one.is_running() else (one, two)
        assert "Another peer is running" in one_line(loser.wait())
        assert winner.line().startswith("ready ")
        assert winner.end().code == 0


def test_a_taken_port_that_was_asked_for_is_an_error(origin: Peer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = one_line(origin.run("node", "--listen", address, code=2))
    assert address in line
    assert "--listen" in line


def test_a_taken_default_port_is_replaced_with_a_note(tmp_path: Path) -> None:
    peer = Peer(tmp_path / "home", environment=BARE)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("0.0.0.0", 7474))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        with peer.node() as node:
            port = node.address.rpartition(":")[2]
            node.says(f"port 7474 is taken, listening on {port} instead")
            assert port != "7474"
            assert node.end().code == 0


def test_a_key_that_is_none(origin: Peer) -> None:
    origin.home.mkdir()
    key = origin.home / "key.pem"
    key.write_text("garbage")
    key.chmod(0o600)
    line = one_line(origin.run("node", code=1))
    assert f"{key} is not a key" in line
    assert key.read_text() == "garbage"


def test_a_key_that_others_may_read(origin: Peer) -> None:
    with origin.node() as node:
        node.end()
    (origin.home / "key.pem").chmod(0o644)
    assert "chmod 600" in one_line(origin.run("node", code=1))


def test_a_key_that_cannot_be_read(origin: Peer) -> None:
    (origin.home / "key.pem").mkdir(parents=True, mode=0o700)
    assert str(origin.home / "key.pem") in one_line(origin.run("node", code=1))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_key_without_the_right_to_read_it(origin: Peer) -> None:
    with origin.node() as node:
        node.end()
    (origin.home / "key.pem").chmod(0)
    assert "Cannot read" in one_line(origin.run("node", code=1))


def test_a_database_of_a_newer_version_is_left_alone(origin: Peer) -> None:
    with origin.node() as node:
        node.end()
    database = origin.home / "shoal.db"
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = database.read_bytes()
    line = one_line(origin.run("node", code=1))
    assert "newer" in line
    assert "Update Shoal" in line
    assert database.read_bytes() == before


def test_a_database_that_is_none(origin: Peer) -> None:
    origin.home.mkdir()
    (origin.home / "shoal.db").write_bytes(b"garbage" * 1000)
    line = one_line(origin.run("node", code=1))
    assert str(origin.home / "shoal.db") in line
    assert "move it away" in line


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert str(tmp_path / "home") in one_line(Peer(tmp_path / "home").run("node", code=2))


def test_others_on_the_machine_see_nothing_of_a_home(tmp_path: Path) -> None:
    """A home that its user made with the usual rights let everybody read names and paths of shares."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    for name in ("jobs", "shoal.db"):
        (home / name).mkdir(mode=0o755) if name == "jobs" else (home / name).touch(mode=0o644)
    peer = Peer(home)
    (tmp_path / "file").write_bytes(b"x")
    with peer.node():
        peer.run("share", tmp_path / "file")
        found = {path.name: path.stat().st_mode & 0o077 for path in home.iterdir()}
    assert {"shoal.db", "shoal.db-wal", "key.pem", "jobs", "results", "volunteer"} <= found.keys()
    assert not any(found.values())
    home.chmod(0o777)
    said = peer.run("node", code=1).err
    assert f"Every user of this machine can write to {home}" in said
    assert f"chmod o-w {home}" in said


OF_A_NODE = ("p2p.node", "p2p.net", "p2p.store", "p2p.sandbox", "cryptography", "sqlite3", "psutil")
OF_JOBS = (
    "p2p.core.compute.attempts",
    "p2p.compute.owner.run",
    "p2p.compute.owner.setup",
    "p2p.compute.volunteer.volunteering",
)
RARE = (
    "rich",
    "asyncio",
    "pathspec",
    "p2p.jobs",
    "tomllib",
    "cryptography.x509",
    "importlib.metadata",
    "jinja2",
    "wasmtime",
)
"""What only some commands use, and what takes long to import."""


def imported(peer: Peer, *command: str | Path) -> set[str]:
    """The modules that the command imports, and the packages that they are in."""
    lines = peer.run(*command, PYTHONPROFILEIMPORTTIME="1").err.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_a_command_imports_only_what_it_needs(tmp_path: Path, origin: Peer) -> None:
    """Importing all of a node takes longer than most commands do."""
    (tmp_path / "file").write_bytes(b"x")
    at_help = imported(origin, "--help")
    assert at_help & {*OF_A_NODE, *RARE, "trio", "msgspec"} == {"rich"}, "typer's help is made by rich"
    with origin.node("--no-dht") as node:
        link = origin.run("share", tmp_path / "file").out.strip()
        at_status = imported(origin, "status", "--json")
        assert at_status & {*OF_A_NODE, *RARE, "trio"} == {"trio"}
        other = Peer(tmp_path / "other")
        at_get = imported(other, "get", link, "--out", tmp_path / "out", "--peer", node.address, "--no-dht")
    assert at_get & {*OF_JOBS, *RARE, "p2p.node"} == {"p2p.node"}
