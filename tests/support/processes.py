"""Real processes of the real command, each peer with a home of its own, for system tests.

Every wait is for an event and has a deadline. Every process ends with its `with` block, whatever happens in the block.
All output of commands is kept, and a stack trace on stderr fails the test.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from tests.support.leaks import check_private

SHOAL = (str(Path(sys.executable).with_name("shoal")),)
PATIENCE_S = 120.0
POLL_S = 0.005


@dataclass(frozen=True)
class Outcome:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The answer to `--json`: exactly one JSON value."""
        return json.loads(self.out)


class Running:
    """A command that is running; its output is collected as it arrives."""

    def __init__(self, process: "subprocess.Popen[bytes]", *, unread: bool = False) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._changed = threading.Condition()
        self._out, self._err = bytearray(), bytearray()
        self._lines_read = 0
        streams = [(process.stdout, self._out), (process.stderr, self._err)]
        if unread:
            process.stdout.close()
            del streams[0]
        self._readers = [threading.Thread(target=self._collect, args=stream) for stream in streams]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def out(self) -> str:
        """The command's stdout so far."""
        with self._changed:
            return self._out.decode()

    @property
    def err(self) -> str:
        """The command's stderr so far."""
        with self._changed:
            return self._err.decode()

    def line(self) -> str:
        """Waits for the next line of the command's stdout."""
        at = self._lines_read
        self._await(lambda: self._out.count(b"\n") > at, "another line on stdout")
        self._lines_read += 1
        return self.out.splitlines()[at]

    def says(self, text: str) -> None:
        """Waits until the command's stderr contains the text."""
        self._await(lambda: text.encode() in self._err, f"{text!r} on stderr")

    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> Outcome:
        """Waits for the command's end."""
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._process.args!r} does not end; stderr: {self.err}") from None
        self._drain()
        outcome = Outcome(self._process.returncode, self.out, self.err)
        assert "Traceback" not in outcome.err, outcome.err
        return outcome

    def end(self, number: signal.Signals = signal.SIGINT) -> Outcome:
        """Sends the signal and waits for the command's end."""
        self.send(number)
        return self.wait()

    def close(self) -> None:
        """Kills the command if it is still running."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._drain()
        assert "Traceback" not in self.err, self.err

    def _drain(self) -> None:
        for reader in self._readers:
            reader.join(PATIENCE_S)

    def _collect(self, stream: BinaryIO, into: bytearray) -> None:
        with stream:
            while data := os.read(stream.fileno(), 65536):
                with self._changed:
                    into += data
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _await(self, happened: Callable[[], bool], what: str) -> None:
        def settled() -> bool:
            return happened() or not any(reader.is_alive() for reader in self._readers)

        with self._changed:
            deadline = time.monotonic() + PATIENCE_S
            while not settled() and time.monotonic() < deadline:
                self._changed.wait(0.1)
            if not happened():
                raise AssertionError(
                    f"{self._process.args!r}: no {what}; stdout: {self._out.decode()!r}, stderr: {self._err.decode()}"
                )


class Node(Running):
    """A `shoal node` that is ready."""

    peer: str
    address: str

    def get_ready(self) -> Self:
        word, self.peer, self.address = self.line().split(" ")
        assert word == "ready"
        return self


class Peer:
    """A home, and the commands that run in it. They listen on loopback, in a network that only the tests use."""

    def __init__(
        self,
        home: Path,
        *,
        network: str = "test-system",
        lan: bool = False,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] = SHOAL,
    ) -> None:
        self.home = home
        self._command = command
        self._folder = home.parent
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOAL_")} | {
            "SHOAL_NETWORK_LISTEN": "127.0.0.1:0",
            "SHOAL_NETWORK_NAME": network,
            "SHOAL_NETWORK_LAN": str(lan).lower(),
            "SHOAL_VOLUNTEER_PRIORITY": "normal",  # on a busy machine, tests would wait for volunteers
            "COLUMNS": "200",
            **(environment or {}),
        }

    def run(self, *arguments: str | Path, code: int = 0, **environment: str) -> Outcome:
        """Runs a command to its end; fails unless it ends with this exit code."""
        with self.start(*arguments, **environment) as running:
            outcome = running.wait()
        assert outcome.code == code, f"exit code {outcome.code}, stdout {outcome.out!r}, stderr {outcome.err}"
        return outcome

    @contextmanager
    def start(self, *arguments: str | Path, **environment: str) -> Iterator[Running]:
        """Runs a command while the body runs."""
        running = Running(self._open(arguments, environment))
        try:
            yield running
        finally:
            running.close()

    def unread(self, *arguments: str | Path) -> Outcome:
        """Runs a command whose stdout nobody reads."""
        running = Running(self._open(arguments, {}), unread=True)
        try:
            return running.wait()
        finally:
            running.close()

    @contextmanager
    def node(self, *options: str, **environment: str) -> Iterator[Node]:
        """Runs a node in this home while the body runs; yields it once it is ready."""
        node = Node(self._open(("node", *options), environment))
        try:
            yield node.get_ready()
            check_private(self.home)
        finally:
            node.close()

    @contextmanager
    def sharing(self, *paths: Path) -> Iterator[str]:
        """Serves a share in the foreground while the body runs; yields its link."""
        with self.start("share", *paths) as running:
            yield running.line()

    def _open(self, arguments: tuple[str | Path, ...], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*self._command, "--home", str(self.home), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env={**self._environment, **environment},
            bufsize=0,
        )


@contextmanager
def running_tracker(home: Path) -> Iterator[tuple[str, int]]:
    """Runs a tracker while the body runs; yields its URL and process id."""
    with Peer(home).start("tracker", "--listen", "127.0.0.1:0") as running:
        word, url = running.line().split()
        assert word == "ready"
        yield url, running.pid


def until(happened: Callable[[], bool], what: str) -> None:
    """Waits for a condition that no event announces. Fails after a while."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(POLL_S)


def chunks_held(peer: Peer) -> int:
    """How many chunks the fetches under way in this home have, as they would be found after a crash."""
    return sum(byte.bit_count() for path in (peer.home / "fetches").glob("*.have") for byte in path.read_bytes())


def make_file(path: Path, size: int, seed: int = 1) -> Path:
    """A file of random bytes, the same for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything beneath a folder: its content by path, None for folders."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}
