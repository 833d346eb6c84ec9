"""A whole file through the gateway, beside nginx; many clients at once; many small requests. The client is curl.

The file is on disk, as shares are, and in the page cache. What is there is read without a thread, and /dev/shm does not
allow that.
"""

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scripts.bench.cases.data.peers import Reader, owner, url
from scripts.bench.cases.data.settings import Settings
from scripts.bench.cases.transfer.turns import take_turns
from scripts.bench.rivals.transfer import installed, nginx, program
from scripts.bench.support import shoal
from scripts.bench.support.data import random_file, show_size, workspace
from scripts.bench.support.measure import ENVIRONMENT, BenchError, Sample, Server, run, status_bytes
from scripts.bench.support.report import MIB, Report, Row

SIZE = 1 << 30
CLIENTS, PASSES = 8, 10
CONNECTIONS, REQUESTS = 4, 1000
SMALL_BYTES = 1000


def stream(settings: Settings) -> Report:
    """A cached file to one client."""
    report = Report("stream", f"{show_size(SIZE)} through curl to /dev/null, cached")
    if not (shoal.installed(report.notes) and installed(report.notes, "curl", "nginx")):
        return report
    with workspace(SIZE, on_disk=True) as work, ExitStack() as stack:
        file = _file(work)
        shared = stack.enter_context(owner(work, file.parent))
        site, base = stack.enter_context(nginx(file.parent, work / "nginx", is_plain=True))
        contenders: dict[str, Callable[[], Sample]] = {
            "shoal": lambda: _curl([shared.node.server], [*_by(shared), url(shared, file.name)]),
            "nginx, plain HTTP": lambda: _curl([site], [f"{base}/{file.name}"]),
        }
        samples = take_turns("stream", contenders, settings.rounds)
    report.rows = [Row.rate(name, "MiB/s", SIZE / MIB, found) for name, found in samples.items()]
    report.compare_speed(samples, "shoal", "nginx, plain HTTP")
    return report


def clients(_: Settings) -> Report:
    """Much to many at once: what the peer's memory comes to."""
    report = Report("clients", f"{PASSES} times {show_size(SIZE)}, by {CLIENTS} clients at once")
    if not (shoal.installed(report.notes) and installed(report.notes, "curl")):
        return report
    with workspace(SIZE, on_disk=True) as work:
        file = _file(work)
        with owner(work, file.parent) as shared:
            each = SIZE * PASSES // CLIENTS
            started = time.perf_counter()
            argv = [program("curl"), "-q", "-sS", "--fail", "-o", "/dev/null", *_by(shared)]
            ranges = [f"0-{SIZE - 1}"] * (each // SIZE) + [f"0-{each % SIZE - 1}"] * bool(each % SIZE)
            for part in ranges:
                _all([[*argv, "-r", part, url(shared, file.name)] for _ in range(CLIENTS)])
            seconds = time.perf_counter() - started
            peak = status_bytes(shared.node.server.pid, "VmHWM")
    report.rows = [
        Row("all together", "MiB/s", [SIZE * PASSES / MIB / seconds]),
        Row("the peer's peak memory", "MiB", [peak / MIB]),
    ]
    return report


def requests(settings: Settings) -> Report:
    """Many small ranges over few connections that stay open."""
    report = Report("requests", f"{REQUESTS} ranges of {SMALL_BYTES} bytes over {CONNECTIONS} connections, by curl")
    if not (shoal.installed(report.notes) and installed(report.notes, "curl")):
        return report
    with workspace(SIZE, on_disk=True) as work:
        file = _file(work)
        with owner(work, file.parent) as shared:
            each = REQUESTS // CONNECTIONS
            argv = [program("curl"), "-q", "-sS", "--fail", "-o", "/dev/null", *_by(shared)]
            argv += ["-r", f"5000-{5000 + SMALL_BYTES - 1}", f"{url(shared, file.name)}?n=[1-{each}]"]
            found = []
            for number in range(settings.rounds + 1):
                started = time.perf_counter()
                _all([argv] * CONNECTIONS)
                if number:
                    found.append(REQUESTS / (time.perf_counter() - started))
    report.rows = [Row("requests", "a second", found)]
    report.notes.append("with the start of curl")
    return report


def _file(work: Path) -> Path:
    (work / "files").mkdir()
    return random_file(work / "files" / "large.bin", SIZE)


def _by(shared: Reader) -> list[str]:
    return ["--unix-socket", str(shared.socket)]


def _curl(servers: list[Server], where: list[str]) -> Sample:
    argv = [program("curl"), "-q", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download} %{time_total}", *where]
    ran = run(argv, servers)
    got, seconds = ran.stdout.split()
    if int(got) != SIZE:
        raise BenchError(f"WRONG RESULT: {got} bytes of {SIZE}")
    return Sample(float(seconds), ran.wall_s, ran.client, ran.server)


def _all(commands: list[list[str]]) -> None:
    """Runs commands at the same time. Raises BenchError if one fails."""
    running = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=ENVIRONMENT) for argv in commands]
    codes = [one.wait(900) for one in running]
    if any(codes):
        raise BenchError(f"exit codes {codes}: {commands[0]}")
