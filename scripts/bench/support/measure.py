"""What a process costs: wall time, CPU seconds and peak memory of a command and of the servers that answer it.

A command's CPU is what the kernel reports when it is reaped; a server's is the difference of `/proc/PID/stat` before
and after, over the server and its descendants. Peak memory is `VmHWM` (pages of mapped files count), summed over the
descendants too; a server's is that since its start. Linux only.

Invariant: every process started here is ended here, by its pid.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FIRST_SAMPLE_S, SAMPLE_INTERVAL_S = 0.002, 0.05  # soon at first: a short command is to be seen too
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# Everything is on loopback: a proxy or the user's own Shoal settings must not take part. Nor must Python compile all of
# Shoal at each start, which it does if it may not keep what it has compiled.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.lower().endswith("_proxy") and not name.startswith("SHOAL_") and name != "PYTHONDONTWRITEBYTECODE"
}


def end_well_on_sigterm() -> None:
    """Makes SIGTERM leave through every `finally`, so that processes end, disks are unmounted and files go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class BenchError(Exception):
    """The benchmark cannot continue: a program failed, hung or delivered wrong bytes."""


@dataclass(frozen=True)
class Cost:
    """What one side of a transfer used."""

    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Run:
    """A command that ended successfully."""

    stdout: str
    wall_s: float
    client: Cost
    server: Cost


@dataclass(frozen=True)
class Sample:
    """One measured round: `seconds` is the contender's own figure of the work, `wall_s` that of the whole process."""

    seconds: float
    wall_s: float
    client: Cost
    server: Cost

    @classmethod
    def of(cls, run: Run, seconds: float | None = None) -> "Sample":
        """`run` with the time the program states itself, or the wall time if it states none."""
        return cls(run.wall_s if seconds is None else seconds, run.wall_s, run.client, run.server)


Fetch = Callable[[Path], Sample]
"""Puts the source under its own name into an empty folder, and returns what that cost."""


@dataclass(frozen=True)
class Server:
    """A running process that answers others."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def first_line(self, timeout_s: float = 60) -> str:
        """Waits for the first line that the server prints, which says that it is ready."""
        assert self.process.stdout is not None
        fd, line, deadline = self.process.stdout.fileno(), b"", time.monotonic() + timeout_s
        while not line.endswith(b"\n"):
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BenchError(f"no first line within {timeout_s:.0f} s: {self._story()}")
            byte = os.read(fd, 1)  # one at a time: what follows the line stays in the pipe
            if not byte:
                raise BenchError(f"ended before it was ready: {self._story()}")
            line += byte
        return line.decode().strip()

    def _story(self) -> str:
        return f"{self.process.args!r}\n{self.log.read_text(errors='replace')[-2000:]}"


@contextmanager
def serve(argv: Sequence[str], log: Path) -> Iterator[Server]:
    """Run `argv` in the background, its stderr in `log`; terminated at the end, killed if that does not help."""
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=ENVIRONMENT
        ) as process,
    ):
        try:
            yield Server(process, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                print(f"note: had to kill {argv[0]}, it did not end on SIGTERM", file=sys.stderr)
                process.kill()


def run(argv: Sequence[str], servers: Sequence[Server] = (), timeout_s: float = 900) -> Run:
    """Run `argv` to its end and measure it and the `servers` meanwhile; BenchError if it fails or takes too long."""
    server_cpu_before = sum(_tree_cpu_s(server.pid) for server in servers)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=ENVIRONMENT)
        try:
            peaks = _watch(process.pid, servers, timeout_s)
            wall_s = time.perf_counter() - started
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except TimeoutError:
            raise BenchError(f"did not end within {timeout_s:.0f} s: {list(argv)}") from None
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        stdout.seek(0)
        stderr.seek(0)
        said, complained = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    if process.returncode != 0:
        raise BenchError(f"exit code {process.returncode}: {list(argv)}\n{(said + complained)[-2000:]}")
    if servers:
        time.sleep(SAMPLE_INTERVAL_S)  # a server's process for this one connection may end a moment after the client
    return Run(
        stdout=said,
        wall_s=wall_s,
        client=Cost(usage.ru_utime + usage.ru_stime, _client_peak_bytes(peaks[0], usage.ru_maxrss * 1024)),
        server=Cost(
            sum(_tree_cpu_s(server.pid) for server in servers) - server_cpu_before,
            sum(max(peak, _tree_peak_bytes(server.pid)) for peak, server in zip(peaks[1:], servers, strict=True)),
        ),
    )


def status_bytes(pid: int, key: str, file: str = "status") -> int:
    """A `key: N kB` line of `/proc/PID/status` (or a file of that form), in bytes; 0 once the process is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return 0


def _watch(pid: int, servers: Sequence[Server], timeout_s: float) -> list[int]:
    """Wait until `pid` has ended, without reaping it; the peaks seen of it and of each server, in bytes."""
    watched = [pid, *(server.pid for server in servers)]
    peaks = [0] * len(watched)
    deadline, pause_s = time.monotonic() + timeout_s, FIRST_SAMPLE_S
    exited = os.pidfd_open(pid)
    try:
        while not select.select([exited], [], [], pause_s)[0]:
            pause_s = min(2 * pause_s, SAMPLE_INTERVAL_S)
            peaks = [max(peak, _tree_peak_bytes(root)) for peak, root in zip(peaks, watched, strict=True)]
            if time.monotonic() > deadline:
                raise TimeoutError
    finally:
        os.close(exited)
    return peaks


def _client_peak_bytes(seen: int, reaped: int) -> int:
    """The larger of what was `seen` and what the kernel says of the `reaped` child, unless the latter may be our own.

    A child starts with the peak of the process that started it, so a figure not above our own is a mere upper bound.
    """
    return max(seen, reaped) if not seen or reaped > status_bytes(os.getpid(), "VmHWM") else seen


def tree(pid: int) -> list[int]:
    """`pid` and its living descendants."""
    pids = [pid]
    for each in pids:  # grows while it is walked
        with suppress(FileNotFoundError, ProcessLookupError):
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                pids += [int(child) for child in children.read_text().split()]
    return pids


def _tree_cpu_s(pid: int) -> float:
    """CPU seconds of the tree so far, with those of its reaped descendants."""
    ticks = 0
    for each in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            after_name = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in after_name[11:15])  # utime, stime, cutime, cstime
    return ticks / TICKS_PER_S


def _tree_peak_bytes(pid: int) -> int:
    return sum(status_bytes(each, "VmHWM") for each in tree(pid))
