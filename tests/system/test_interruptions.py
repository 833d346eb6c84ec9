"""Fetches that are interrupted or killed go on from where they were; nothing is fetched twice."""

import re
import signal
from pathlib import Path

from tests.support.processes import Peer, chunks_held, make_file, until

MIB = 1024 * 1024
CHUNK = 256 * 1024
SLOWLY = ("--limit", "1MiB")


def test_ctrl_c_keeps_what_was_fetched_and_says_how_to_go_on(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 16 * MIB)
    with origin.sharing(file) as link:
        with other.start("get", link, "--out", "got", *SLOWLY) as getting:
            until(lambda: chunks_held(other) >= 4, "four chunks")
            outcome = getting.end()
        assert outcome.code == 130
        assert outcome.out == ""
        said = r"Interrupted\. What was fetched is kept: `shoal resume \w{8}`, or the same command, goes on with it\.\n"
        assert re.fullmatch(said, outcome.err)
        held = chunks_held(other)
        assert held >= 4
        assert not (tmp_path / "got" / "data.bin").exists()
        answer = other.run("get", link, "--out", "got", "--json").json()
    assert answer["received"] == 16 * MIB - held * CHUNK
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["data.bin"]


def test_a_killed_fetch_goes_on_even_from_a_bare_id(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 16 * MIB)
    with origin.node():
        answer = origin.run("share", file, "--json").json()
        for goal in (4, 12):
            with other.start("get", answer["link"], "--out", "got", *SLOWLY) as getting:
                until(lambda: chunks_held(other) >= goal, f"{goal} chunks")  # noqa: B023 - ends within the round
                assert getting.end(signal.SIGKILL).code == -signal.SIGKILL
        held = chunks_held(other)
        rest = other.run("get", answer["id"], "--out", "got", "--json")
    assert rest.err.count("\n") == 1, "the sources are remembered, so there is nothing to complain of"
    assert rest.json()["received"] == 16 * MIB - held * CHUNK
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()


def test_a_killed_daemon_goes_on_when_asked_again(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 16 * MIB)
    with origin.sharing(file) as link:
        with other.node() as node, other.start("get", link, "--out", "got", *SLOWLY) as getting:
            until(lambda: chunks_held(other) >= 4, "four chunks")
            node.end(signal.SIGKILL)
            outcome = getting.wait()
        assert outcome.code == 1
        assert "repeat the command" in outcome.err
        held = chunks_held(other)
        with other.node():  # the dead one's lock and socket are not in its way; it goes on with the fetch
            answer = other.run("get", link, "--out", "got", "--json").json()
    assert answer["received"] <= 16 * MIB - held * CHUNK
    assert (tmp_path / "got" / "data.bin").read_bytes() == file.read_bytes()


def test_interrupting_a_command_ends_its_fetch_in_the_daemon(origin: Peer, other: Peer, tmp_path: Path) -> None:
    file = make_file(tmp_path / "data.bin", 16 * MIB)
    with origin.sharing(file) as link, other.node() as node:
        with other.start("get", link, "--out", "got", *SLOWLY) as getting:
            until(lambda: chunks_held(other) >= 4, "four chunks")
            (fetching,) = other.run("status", "--json").json()["fetches"]
            assert fetching["name"] == "data.bin"
            assert 0 < fetching["done"] < fetching["size"] == 16 * MIB
            twice = other.run("get", link, "--out", "elsewhere", code=2)
            assert "already" in twice.err
            outcome = getting.end()
        assert outcome.code == 130
        until(lambda: other.run("status", "--json").json()["fetches"] == [], "the end of the fetch")
        assert node.is_running()


def test_interrupted_while_waiting(other: Peer) -> None:
    with other.start("get", "a" * 52, "--peer", "127.0.0.1:1") as getting:
        getting.says("waiting for sources")
        outcome = getting.end()
    assert outcome.code == 130
    assert "shoal resume" in outcome.err


def test_closing_the_terminal_is_like_ctrl_c(other: Peer) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under `nohup`, which is inherited
    try:
        with other.start("get", "a" * 52, "--peer", "127.0.0.1:1") as getting:
            getting.says("waiting for sources")
            outcome = getting.end(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert outcome.code == 130
    assert "shoal resume" in outcome.err


def test_two_signals_at_once_are_one_wish(other: Peer) -> None:
    # As `timeout -s INT` sends them.
    with other.start("get", "a" * 52, "--peer", "127.0.0.1:1") as getting:
        getting.says("waiting for sources")
        getting.send(signal.SIGSTOP)
        getting.send(signal.SIGINT)
        getting.send(signal.SIGTERM)
        getting.send(signal.SIGCONT)
        outcome = getting.wait()
    assert outcome.code == 130
    assert "shoal resume" in outcome.err
