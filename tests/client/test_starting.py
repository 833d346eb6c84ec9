"""A program that finds no peer in its home starts one, which ends with the last program that uses it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2p import Peer
from p2p.control.path import socket_path
from p2p.errors import ConfigError
from tests.support import processes
from tests.support.processes import Running, chunks_held, make_file, until

PROLOGUE = """
import os, signal, sys
from p2p import Peer, errors

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
home = sys.argv[2]
NOBODY = "a" * 52


def say(*what):
    print(*what, flush=True)


def started():
    "The peer that this process started."
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().strip()


def pause():
    signal.sigwait([signal.SIGUSR1])


def once(*what):
    "Says this at the first progress."
    told = []
    return lambda progress: told or told.append(say(*what))
"""


@contextmanager
def program(home: Path, text: str) -> Iterator[Running]:
    """A program that uses the peer of a home; its warnings are errors."""
    command = (sys.executable, "-W", "error", "-c", PROLOGUE + text)
    environment = {"SHOAL_NETWORK_DHT": "false"}
    with processes.Peer(home, environment=environment, command=command).start() as running:
        yield running


def is_over(home: Path) -> bool:
    """Whether no peer runs in the home any more."""
    return not socket_path(home).exists()


def test_programs_share_a_peer_that_ends_with_the_last_of_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    # One of them finds that the other is starting the peer. Nobody calls `close`: the interpreter ends.
    text = "peer = Peer(home)\nsay(started())\npause()\nsay(peer.status().home)\n"
    with program(home, text) as one, program(home, text) as other:
        found = one.line(), other.line()
        assert sorted(map(bool, found)) == [False, True]
        first, last = (one, other) if found[0] else (other, one)
        for each in (first, last):
            each.send(signal.SIGUSR1)
            assert each.line() == str(home)
            outcome = each.wait()
            assert (outcome.code, outcome.err) == (0, "")
            assert each is last or not is_over(home)
    until(lambda: is_over(home), "the end of the peer")


def test_a_peer_ends_if_its_program_is_killed_and_keeps_what_it_fetched(tmp_path: Path) -> None:
    home, file = tmp_path / "home", make_file(tmp_path / "file", 8 << 20)
    text = f"""
source = Peer({str(tmp_path / "source")!r})
taker = Peer(home)
asked = once("asked")
link = source.share({str(file)!r}).link
taker.get(link, home + "/out", limit_bytes_per_s=1 << 20, on_progress=lambda p: p.done and asked(p))
"""
    with program(home, text) as running:
        assert running.line() == "asked"
        running.send(signal.SIGKILL)
        until(lambda: is_over(home) and is_over(tmp_path / "source"), "the end of both peers")
        assert chunks_held(processes.Peer(home))


def test_an_interrupted_program_and_one_whose_peer_is_killed_go_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    text = """
os.setpgid(0, 0)
with Peer(home) as peer:
    try:
        peer.get(NOBODY, home, on_progress=once("asked"))
    except KeyboardInterrupt:
        say("interrupted")
    try:
        peer.get(NOBODY, home, on_progress=once(started()))
    except errors.PeerGone as error:
        say(error)
    say(peer.status().home)
say(started() or "nothing is left")
"""
    with program(home, text) as running:
        assert running.line() == "asked"
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: not the peer's business
        assert running.line() == "interrupted"
        os.kill(int(running.line()), signal.SIGKILL)
        words = "The running peer stopped before it had answered. Call this again, which starts one if need be."
        assert running.line() == words
        assert running.line() == str(home)
        assert running.line() == "nothing is left"
        assert running.wait().err == ""


def test_a_forked_process_uses_the_peer_on_its_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    text = """
peer = Peer(home)
before = started()
if not os.fork():
    say(peer.status().home)
    sys.exit()
os.wait()
assert started() == before
say(peer.status().home)
fork = os.fork()
if not fork:
    pause()
    os._exit(0)
say(fork)
pause()
"""
    with program(home, text) as running:
        assert [running.line(), running.line()] == [str(home)] * 2
        forked = int(running.line())
        try:
            running.send(signal.SIGKILL)
            until(lambda: is_over(home), "the end of a peer that only a fork inherited")
        finally:
            os.kill(forked, signal.SIGUSR1)
        assert running.wait().err == ""


def test_a_job_of_the_process_that_forked_is_over_in_the_fork(tmp_path: Path) -> None:
    text = """
import pathlib, socket, threading
from p2p.control.path import socket_path

os.makedirs(home)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(socket_path(pathlib.Path(home))))
listener.listen()
kept = []


def hold():
    kept.append(listener.accept()[0])
    kept[0].sendall(b'{"event":"note","text":"held"}\\n')


threading.Thread(target=hold).start()
running = Peer(home).run("job.py")  # nobody will answer
if not os.fork():
    try:
        running.result()
    except errors.PeerGone as error:
        say(error)
    os._exit(0)
os.wait()
say(running.is_done)
"""
    with program(tmp_path / "home", text) as running:
        assert running.line() == "This job belongs to the process that forked this one. Ask for its result there."
        assert running.line() == "False"
        running.send(signal.SIGKILL)
        running.wait()


def test_what_keeps_a_peer_from_starting_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a tracker"):
        Peer(tmp_path / "home", trackers=["ftp://x"])
    with pytest.raises(ConfigError, match="trackers are several"):
        Peer(tmp_path / "home", trackers="http://x")
