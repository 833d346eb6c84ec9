"""The processes that chaos befalls: the node under test, whose home is on a small disk of its own where that can be
made, two peers that share and volunteer, and a tracker. All can be killed, and started again in the same home.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench.support import shoal
from scripts.bench.support.data import random_file
from scripts.bench.support.measure import ENVIRONMENT, BenchError, Server, tree

DISK_BYTES = 128 << 20
FILE_BYTES = 8 << 20
NETWORK = ("--network", "bench-chaos", "--no-lan", "--listen", "127.0.0.1:0")
VOLUNTEER = ("--volunteer", "--cores", "1")
PEERS = ("peer0", "peer1")
END_S = 30.0
IN_USE = "Another peer is running"
IN_USE_S = 150.0
"""How long a command may be that has started a peer of its own: a job takes its time beside all that befalls it."""


class Member:
    """A process that is started again after it was killed. What it says on stderr is appended to its log."""

    def __init__(self, name: str, argv: list[str], log: Path) -> None:
        self.name, self.log = name, log
        self.command = argv
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: list[str] = []
        """The words of its `ready` line."""
        self.descriptors = (0, 0)
        """Its own limits."""

    def start(self) -> None:
        """Starts it unless it runs, and waits until it is ready. Raises BenchError."""
        if self.is_running():
            return
        deadline = time.monotonic() + IN_USE_S
        while True:
            try:
                line = self._started()
                break
            except BenchError as error:
                # While it was away, a command in its home may have started a peer of its own.
                if IN_USE not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(1)
        self.ready = line.split()
        if self.ready[:1] != ["ready"]:
            raise BenchError(f"{self.name} says {line!r}, instead of that it is ready")
        self.descriptors = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def _started(self) -> str:
        """Starts it, and returns what it says first. Raises BenchError."""
        self.close()
        with self.log.open("ab") as stderr:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=ENVIRONMENT
            )
        return Server(self.process, self.log).first_line()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[int]:
        """Its living descendants: workers, guests and such."""
        return tree(self.pid)[1:] if self.is_running() else []

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Ends it, even if it is stopped; kills it if it does not end."""
        if self.process is None:
            return
        if self.is_running():
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Peer(Member):
    """A member with a home, in which commands run."""

    def __init__(self, name: str, home: Path, work: Path, *options: str) -> None:
        super().__init__(name, [*_command(home), "node", *NETWORK, *options], work / f"{name}.log")
        self.home = home

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.ready[2].rpartition(":")
        return host, int(port)

    @property
    def spoken_address(self) -> str:
        return self.ready[2]

    def argv(self, *arguments: str | Path) -> list[str]:
        """A command in this peer's home."""
        return [*_command(self.home), *map(str, arguments)]


@dataclass
class Crew:
    """All processes, and the files they share. Whatever events make on the way goes into `work` or onto `disk`."""

    work: Path
    disk: Path
    has_own_disk: bool
    node: Peer
    peers: dict[str, Peer]
    tracker: Member
    links: dict[str, str] = field(default_factory=dict)
    """What each member shares of its own: the link of its folder, which is `source(name)`."""

    def source(self, name: str) -> Path:
        return self.work / f"files-{name}"

    def kept(self, name: str) -> Path:
        """A copy of those files that nothing befalls."""
        return self.work / f"kept-{name}"

    def revive(self) -> None:
        """Starts again whoever is not running."""
        for member in (self.tracker, *self.peers.values()):
            member.start()

    def volunteers(self) -> list[str]:
        """Options that name the peers as volunteers."""
        return [option for peer in self.peers.values() for option in ("--peer", peer.spoken_address)]


@contextmanager
def crew(work: Path) -> Iterator[Crew]:
    """Runs all of them during the body."""
    with ExitStack() as stack:
        disk = work / "disk"
        disk.mkdir()
        has_own_disk = _mount(disk)
        if has_own_disk:
            stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=False)
        listen = "127.0.0.1:0"
        tracker = Member("tracker", _tracker(work, listen), work / "tracker.log")
        stack.callback(lambda: tracker.close())
        tracker.start()
        url = tracker.ready[1]
        # From now on at the same address: others know it by that.
        tracker.command = _tracker(work, url.removeprefix("http://").rstrip("/"))
        made: list[Peer] = []
        for name in PEERS:
            joining = ["--join", made[0].spoken_address] if made else []
            made.append(Peer(name, work / name, work, *VOLUNTEER, "--tracker", url, *joining))
            stack.callback(made[-1].close)
            made[-1].start()
        node = Peer("node", disk / "n", work, *VOLUNTEER, "--tracker", url, "--join", made[0].spoken_address)
        stack.callback(node.close)
        node.start()
        yield Crew(work, disk, has_own_disk, node, dict(zip(PEERS, made, strict=True)), tracker)


def fill(folder: Path, files: int = 4) -> Path:
    """Makes a folder with files to share."""
    folder.mkdir()
    for number in range(files):
        random_file(folder / f"{number}.bin", FILE_BYTES // files)
    return folder


def _command(home: Path) -> list[str]:
    return [str(shoal.PROGRAM), "--home", str(home)]


def _tracker(work: Path, listen: str) -> list[str]:
    return [*_command(work / "tracker"), "tracker", "--network", "bench-chaos", "--listen", listen]


def _mount(folder: Path) -> bool:
    """Makes the folder a small disk. Only root can."""
    options = ["-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", *options], check=False).returncode == 0
