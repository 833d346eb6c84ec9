"""`shoal demo`: a whole network on this machine, of real processes, with every result checked.

One peer shares a folder, through a line as thin as a home's; four fetch it and feed each other; one of them is killed
with SIGKILL half-way and started again. Afterwards every file is compared byte by byte.
"""

import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2p.errors import PeerError, ShoalError
from p2p.services import control
from p2p.services.requests import Event, Status
from p2p.units import format_size

FETCHERS = 4
VICTIM = 2
KILL_AT = 0.5
ORIGIN_LIMIT_BYTES_PER_S = 24 * 1024 * 1024
MOST_COPIES = 2.0
READY_S = 30.0
LOOK_EVERY_S = 0.1
_SHOAL = [sys.executable, "-P", "-m", "cli"]
_LONELY = ["--listen", "127.0.0.1:0", "--network", "demo", "--no-lan", "--no-dht"]


@dataclass
class Report:
    """What was checked, for people as it happens and for programs at the end."""

    as_json: bool
    checks: dict[str, bool] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        if not self.as_json:
            print(text, flush=True)

    def check(self, name: str, text: str, held: bool) -> None:
        self.checks[name] = held
        self.say(f"  {_colour('✓', 32) if held else _colour('✗', 31)} {text}")


@dataclass
class Peer:
    """One peer of the demo: a home, an output folder, and how far it is."""

    name: str
    home: Path
    out: Path
    runs: bool = False
    progress: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    half_way: trio.Event = field(default_factory=trio.Event)
    fetched: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)

    @property
    def fraction(self) -> float:
        """How much of the share is here and verified."""
        if self.answer is not None:
            return 1.0
        size = self.progress.get("size", 0)
        return float(self.progress["done"] / size) if size else 0.0


def run_demo(size: int, *, as_json: bool) -> int:
    """Runs the demo with a large file of `size` bytes; the exit code is 0 only if all checks held."""
    report = Report(as_json)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shoal-demo-") as folder:
        try:
            trio.run(_demo, report, Path(folder), size)
        except* KeyboardInterrupt:
            report.say("Interrupted.")
            sys.exit(130)
        except* ShoalError as errors:
            report.check("ran", str(errors.exceptions[0]), False)
    seconds = time.monotonic() - started
    good = bool(report.checks) and all(report.checks.values())
    if as_json:
        print(json.dumps({"ok": good, "seconds": round(seconds, 1), "checks": report.checks, **report.figures}))
    report.say(f"{'All checks held' if good else 'NOT all checks held'}, in {seconds:.0f} s.")
    return 0 if good else 1


async def _demo(report: Report, folder: Path, size: int) -> None:
    report.say(_colour("A network of five peers on this machine", 1))
    data = folder / "library"
    files, total = await trio.to_thread.run_sync(_make_data, data, size)
    report.say(f"Data: {files:,} files, {format_size(total)} (Python's own library, and one large file)")
    origin = Peer("origin", folder / "origin", folder)
    fetchers = [Peer(f"peer {n + 1}", folder / f"peer{n + 1}", folder / f"out{n + 1}") for n in range(FETCHERS)]
    async with _running(origin, ["--upload-limit", str(ORIGIN_LIMIT_BYTES_PER_S)]):
        answer = await _shoal(origin, "share", str(data), "--json")
        link = answer["link"]
        report.say(f"The origin shares them after {answer['seconds']:.2g} s: {link[:60]}…")
        report.say(
            f"Four peers fetch it. The origin's line carries {format_size(ORIGIN_LIMIT_BYTES_PER_S)}/s, "
            "so they had better help each other."
        )
        async with trio.open_nursery() as nursery:
            for peer in fetchers:
                nursery.start_soon(partial(_fetch, peer, link, report, killed=peer is fetchers[VICTIM]))
            watching = trio.CancelScope()
            nursery.start_soon(_watch, fetchers, report, watching)
            for peer in fetchers:
                await peer.fetched.wait()
            watching.cancel()
            uploaded = (await _status(origin))["uploaded"]
            for peer in fetchers:
                peer.over.set()
    report.say("Checks:")
    same = 0
    for peer in fetchers:
        same += await trio.to_thread.run_sync(_equal, data, peer.out / "library")
    report.check("equal", f"{FETCHERS} times {files:,} files are equal to the origin's, byte by byte", same == FETCHERS)
    copies = uploaded / total
    text = f"the origin sent {copies:.2f} copies for {FETCHERS} peers; the rest they gave each other"
    report.check("copies", text, copies < MOST_COPIES)
    victim = fetchers[VICTIM].answer or {}
    again = victim.get("received", total)
    report.check(
        "resumed",
        f"{fetchers[VICTIM].name} was killed half-way; started again, it fetched only the missing {format_size(again)}",
        again < 0.75 * total,
    )
    report.figures.update(files=files, bytes=total, origin_copies=round(copies, 3), received_after_kill=again)


async def _fetch(peer: Peer, link: str, report: Report, *, killed: bool) -> None:
    """Runs the peer and its fetch; the unlucky one dies half-way and is started again."""
    if killed:
        async with _running(peer) as process, trio.open_nursery() as nursery:
            nursery.start_soon(_fetch_until_killed, peer, link)
            await peer.half_way.wait()
            process.kill()
        report.say(f"  {peer.name} killed with SIGKILL at {100 * peer.fraction:.0f} %, and started again")
    async with _running(peer):
        peer.answer = await _shoal(peer, "get", link, "--out", str(peer.out), "--json")
        peer.fetched.set()
        await peer.over.wait()  # until then it serves the others


async def _fetch_until_killed(peer: Peer, link: str) -> None:
    with suppress(subprocess.CalledProcessError):
        await _shoal(peer, "get", link, "--out", str(peer.out), "--json")


async def _watch(peers: list[Peer], report: Report, scope: trio.CancelScope) -> None:
    """Follows the fetches, and shows them where somebody looks on."""
    with scope, _bars(peers, report) as redraw:
        while True:
            for peer in peers:
                if peer.runs and peer.answer is None:
                    with suppress(PeerError):
                        fetches = (await _status(peer))["fetches"]
                        peer.progress = fetches[0] if fetches else peer.progress
                    if peer.fraction >= KILL_AT:
                        peer.half_way.set()
            redraw()
            await trio.sleep(LOOK_EVERY_S)


@contextmanager
def _bars(peers: list[Peer], report: Report) -> Iterator[Any]:
    if report.as_json or not sys.stdout.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    with Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
        console=Console(highlight=False),
        transient=True,
    ) as progress:
        tasks = {peer.name: progress.add_task(peer.name, total=1.0, detail="") for peer in peers}

        def redraw() -> None:
            for peer in peers:
                now = peer.progress
                detail = f"{format_size(now['rate'])}/s from {now['sources']}" if now and peer.fraction < 1 else ""
                progress.update(tasks[peer.name], completed=peer.fraction, detail=detail)

        yield redraw
        redraw()


# Processes.


@asynccontextmanager
async def _running(peer: Peer, extra: list[str] | None = None) -> AsyncIterator[trio.Process]:
    """The peer's node, from its `ready` to its end; the body may end it earlier."""
    command = [*_SHOAL, "--home", str(peer.home), "node", *_LONELY, *(extra or [])]
    with (peer.home.parent / f"{peer.home.name}.log").open("ab") as log:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = b""
        with trio.move_on_after(READY_S):
            line = bytes(await process.stdout.receive_some())
        if not line.startswith(b"ready "):
            raise ShoalError(f"{peer.name} did not start; run `shoal node` to see why.")
        peer.runs = True
        yield process
    finally:
        peer.runs = False
        if process.returncode is None:
            process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()


async def _shoal(peer: Peer, *arguments: str) -> Any:
    """Runs one command in the peer's home; its JSON answer. Raises CalledProcessError."""
    done = await trio.run_process(
        [*_SHOAL, "--home", str(peer.home), *arguments], capture_stdout=True, stderr=subprocess.DEVNULL
    )
    return json.loads(done.stdout)


async def _status(peer: Peer) -> Any:
    async def ignore(_: Event) -> None:
        pass

    return await control.ask(peer.home, Status(), ignore)


# Data.


def _make_data(folder: Path, size: int) -> tuple[int, int]:
    """Copies Python's library sources and makes one large file; returns the number of files and their bytes."""
    library = Path(sysconfig.get_path("stdlib"))
    skip = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__", "*.pyc", "*.so", "*.a", "config-*")
    shutil.copytree(library, folder, ignore=skip, symlinks=False, ignore_dangling_symlinks=True)
    noise = random.Random(7)
    with (folder / "large.bin").open("wb") as file:
        for at in range(0, size, 1 << 20):
            file.write(noise.randbytes(min(1 << 20, size - at)))
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _equal(one: Path, other: Path) -> bool:
    """Whether two trees hold the same files with the same bytes."""
    listed = [sorted(path.relative_to(top) for path in top.rglob("*")) for top in (one, other)]
    if listed[0] != listed[1]:
        return False
    names = [str(name) for name in listed[0] if (one / name).is_file()]
    _, different, failed = filecmp.cmpfiles(one, other, names, shallow=False)
    return not different and not failed


def _colour(text: str, code: int) -> str:
    return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
