"""`shoal demo` runs a whole network of real processes on this machine, and checks every result.

A tracker runs, and one peer shares a folder over a connection as slow as a household's. Another peer finds the folder
by a word. Four peers fetch it by a link without any address, and serve each other. While they do, one of them is killed
with SIGKILL and started again, and the tracker is killed for good. A last peer then finds the folder by the same word,
through the DHT, and fetches it. Then the four peers count the folder's words for the last one, in their sandboxes, and
one of them is killed during the job. At the end every file is compared byte by byte, and the word counts are compared
with a plain count made here.
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
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2p import ids
from p2p.control import client
from p2p.control.answers import StatusAnswer
from p2p.control.protocol import Event, StatusRequest
from p2p.errors import PeerError, ShoalError
from p2p.formats import format_size
from p2p.ids import ShareId
from p2p.progress import JobView, Progress
from p2p.wire.link import Link

FETCHERS = 4
VICTIM = 2
KILL_AT = 0.5
ORIGIN_LIMIT_BYTES_PER_S = 24 * 1024 * 1024
MAX_COPIES = 2.0
READY_TIMEOUT_S = 30.0
LOOK_INTERVAL_S = 0.1
_SHOAL = [sys.executable, "-P", "-m", "p2p.commandline.start"]
_NETWORK = "demo"
_HERE = ["--listen", "127.0.0.1:0", "--network", _NETWORK, "--no-lan"]
WORD = "treasure"
FOUND_TIMEOUT_S = 20.0
TEXT = "python"
UNITS_BEFORE_KILL = 2
JOB = """\
def job(inputs, top):
    words = inputs.lines().flat_map(str.split).map(lambda word: (word, 1))
    return words.reduce_by_key(lambda a, b: a + b).top(top, key=lambda pair: (pair[1], pair[0]))
"""
TOP = 1000


@dataclass
class DemoReport:
    """The results of the demo's checks, printed as they come, or with `as_json`, all at the end."""

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
    """One peer of the demo: its home, its output folder, and how far it has got."""

    name: str
    home: Path
    out: Path
    extra: list[str] = field(default_factory=list)
    """Options of the peer's `shoal node`."""
    runs: bool = False
    process: trio.Process | None = None
    id: str = ""
    address: str = ""
    progress: Progress = field(default_factory=Progress)
    answer: dict[str, Any] | None = None
    half_way: trio.Event = field(default_factory=trio.Event)
    fetched: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)

    @property
    def fraction(self) -> float:
        """The part of the share that the peer has and has verified, from 0 to 1."""
        if self.answer is not None:
            return 1.0
        progress = self.progress
        return progress.done / progress.size if progress.size else 0.0


def run_demo(size: int, *, as_json: bool) -> int:
    """Runs the demo with a large file of `size` bytes. Returns the exit code: 0 only if all checks held."""
    report = DemoReport(as_json)
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


async def _demo(report: DemoReport, folder: Path, size: int) -> None:
    report.say(_colour("A tracker and six peers on this machine", 1))
    data = folder / f"{WORD} library"
    files, total = await trio.to_thread.run_sync(_make_data, data, size)
    report.say(f"Data: {files:,} files, {format_size(total)} (Python's own library, and one large file)")
    async with _tracker(folder) as (tracker, url):
        origin = Peer("origin", folder / "origin", folder)
        origin.extra = ["--tracker", url, "--upload-limit", str(ORIGIN_LIMIT_BYTES_PER_S)]
        async with _running(origin):
            answer = await _shoal(origin, "share", str(data), "--json")
            report.say(
                f"The origin indexed them in {answer['seconds']:.2g} s, and shares them "
                f"through the tracker {url} and the DHT."
            )
            fetchers = _fetchers(folder, ["--tracker", url, "--join", origin.address])
            await _search(report, fetchers[0], answer["id"])
            uploaded = await _fetch_all(report, fetchers, tracker, origin, _bare(answer["id"]))
    report.say("Checks:")
    same = 0
    for peer in fetchers:
        same += await trio.to_thread.run_sync(_equal, data, peer.out / data.name)
    text = f"{len(fetchers)} copies of {files:,} files equal the origin's, byte for byte"
    report.check("equal", text, same == len(fetchers))
    copies = uploaded / total
    text = f"the origin sent {copies:.2f} copies for {FETCHERS} peers; they gave each other the rest"
    report.check("copies", text, copies < MAX_COPIES)
    victim = fetchers[VICTIM].answer or {}
    again = victim.get("received", total)
    report.check(
        "resumed",
        f"{fetchers[VICTIM].name} was killed half-way; started again, it fetched only the missing {format_size(again)}",
        again < 0.75 * total,
    )
    report.figures.update(files=files, bytes=total, origin_copies=round(copies, 3), received_after_kill=again)


def _fetchers(folder: Path, options: list[str]) -> list[Peer]:
    """The four peers that fetch at the same time, and the latecomer."""
    names = [f"peer {number + 1}" for number in range(FETCHERS)] + ["the latecomer"]
    options = [*options, "--volunteer", "--cores", "1"]
    return [Peer(name, folder / f"home{n}", folder / f"out{n}", options) for n, name in enumerate(names)]


async def _search(report: DemoReport, peer: Peer, share: str) -> None:
    async with _running(peer):
        found = await _find(peer)
    right = found is not None and found["id"] == share
    report.check("found", f"{peer.name} searches for the word {WORD!r} and finds the share through the tracker", right)


async def _fetch_all(report: DemoReport, fetchers: list[Peer], tracker: trio.Process, origin: Peer, link: str) -> int:
    """Has all peers fetch the share, the last one without the tracker. Returns how much the origin sent to the four."""
    *four, late = fetchers
    report.say(f"Four peers fetch {link[:44]}…, a link without an address.")
    report.say(
        f"The origin uploads at most {format_size(ORIGIN_LIMIT_BYTES_PER_S)}/s, so they had better help each other."
    )
    async with trio.open_nursery() as nursery:
        for peer in four:
            nursery.start_soon(partial(_fetch, peer, link, report, killed=peer is four[VICTIM]))
        watching = trio.CancelScope()
        nursery.start_soon(_watch, four, report, watching)
        await four[VICTIM].half_way.wait()
        tracker.kill()
        report.say("  the tracker was killed with SIGKILL, for good")
        for peer in four:
            await peer.fetched.wait()
        watching.cancel()
        uploaded = (await _status(origin)).uploaded
        async with _running(late):
            found = await _find(late)
            right = found is not None and _bare(found["id"]) == link
            report.check("found_without_tracker", f"{late.name} finds it by the same word, through the DHT", right)
            late.answer = await _shoal(late, "get", link, "--out", str(late.out), "--json")
            await _count_words(report, late, four)
        for peer in four:
            peer.over.set()
    return uploaded


async def _count_words(report: DemoReport, owner: Peer, volunteers: list[Peer]) -> None:
    """Runs a job for the owner on four volunteers, and kills one of them when part of the work is done."""
    text = owner.out / f"{WORD} library" / TEXT
    job = owner.home.parent / "words.py"
    await trio.Path(job).write_text(JOB)
    report.say(f"The four count the words of {TEXT}/ for {owner.name}, in WebAssembly sandboxes.")
    peers = [option for peer in volunteers for option in ("--peer", peer.address)]
    limits = ("--unit-memory", "256MiB", "--wait", "120s", "--arg", f"top={TOP}")
    answer: dict[str, Any] = {}
    seen = JobView()
    started = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_kill_one, report, owner, volunteers[-1], seen)
        with suppress(subprocess.CalledProcessError):
            answer = await _shoal(owner, "run", str(job), "--input", str(text), *limits, *peers, "--json")
        nursery.cancel_scope.cancel()
    seconds = time.monotonic() - started
    words = await trio.to_thread.run_sync(_plain_count, text)
    right = answer.get("result") == [[word, number] for word, number in words]
    said = f"the job's top {TOP} words match a plain count made here; it took {seconds:.0f} s"
    report.check("counted", said, right)
    again = seen.losses + seen.failures
    report.check(
        "job_survived", f"one volunteer was killed during the job, and {again} units were tried again", again > 0
    )
    report.figures.update(units_done=seen.units_done, units_again=again)


async def _kill_one(report: DemoReport, owner: Peer, victim: Peer, seen: JobView) -> None:
    """Kills the volunteer once some units are done. Until cancelled, keeps the job's latest state in `seen`."""
    while True:
        with suppress(PeerError):
            for job in (await _status(owner)).jobs:
                for key, value in msgspec.structs.asdict(job).items():
                    setattr(seen, key, value)
        busy = any(one.units and one.peer == victim.id for one in seen.volunteers)
        if victim.process is not None and busy and seen.units_done >= UNITS_BEFORE_KILL:
            victim.process.kill()
            victim.process = None
            report.say(f"  {victim.name} was killed with SIGKILL during the job")
        await trio.sleep(LOOK_INTERVAL_S / 4)


async def _find(peer: Peer) -> dict[str, Any] | None:
    """Finds the share by the word alone. Retries, as publishing takes a moment. None if other shares were found too."""
    with trio.move_on_after(FOUND_TIMEOUT_S):
        while True:
            with suppress(subprocess.CalledProcessError):
                found = await _shoal(peer, "search", WORD, "--json")
                if found:
                    return found[0] if len(found) == 1 else None
            await trio.sleep(LOOK_INTERVAL_S)
    return None


def _bare(share: str) -> str:
    return str(Link(ShareId(ids.from_text(share))))


async def _fetch(peer: Peer, link: str, report: DemoReport, *, killed: bool) -> None:
    """Runs the peer and its fetch. With `killed`, the peer is killed half-way and started again."""
    if killed:
        async with _running(peer) as process, trio.open_nursery() as nursery:
            nursery.start_soon(_fetch_until_killed, peer, link)
            await peer.half_way.wait()
            process.kill()
        report.say(f"  {peer.name} was killed with SIGKILL at {100 * peer.fraction:.0f} %, and starts again")
    async with _running(peer):
        peer.answer = await _shoal(peer, "get", link, "--out", str(peer.out), "--json")
        peer.fetched.set()
        await peer.over.wait()  # until then it serves the others


async def _fetch_until_killed(peer: Peer, link: str) -> None:
    with suppress(subprocess.CalledProcessError):
        await _shoal(peer, "get", link, "--out", str(peer.out), "--json")


async def _watch(peers: list[Peer], report: DemoReport, scope: trio.CancelScope) -> None:
    """Follows the fetches, and shows their progress on a terminal."""
    with scope, _bars(peers, report) as redraw:
        while True:
            for peer in peers:
                if peer.runs and peer.answer is None:
                    with suppress(PeerError):
                        fetches = (await _status(peer)).fetches
                        peer.progress = fetches[0] if fetches else peer.progress
                    if peer.fraction >= KILL_AT:
                        peer.half_way.set()
            redraw()
            await trio.sleep(LOOK_INTERVAL_S)


@contextmanager
def _bars(peers: list[Peer], report: DemoReport) -> Iterator[Any]:
    if report.as_json or not sys.stdout.isatty():
        yield lambda: None
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn

    with bars.Progress(
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
                detail = f"{format_size(now.rate)}/s from {now.sources}" if now.size and peer.fraction < 1 else ""
                progress.update(tasks[peer.name], completed=peer.fraction, detail=detail)

        yield redraw
        redraw()


# Processes.


@asynccontextmanager
async def _running(peer: Peer) -> AsyncIterator[trio.Process]:
    """Runs the peer's node; the body starts when the node is ready, and may end it early."""
    command = ["--home", str(peer.home), "node", *_HERE, *peer.extra]
    async with _process(command, peer.home.parent / f"{peer.home.name}.log") as (process, ready):
        peer.id, peer.address = ready[:2]
        peer.runs = True
        peer.process = process
        try:
            yield process
        finally:
            peer.runs = False


@asynccontextmanager
async def _tracker(folder: Path) -> AsyncIterator[tuple[trio.Process, str]]:
    """Runs the tracker while the body runs; yields its process and its URL."""
    home = folder / "tracker"
    command = ["--home", str(home), "tracker", "--listen", "127.0.0.1:0", "--network", _NETWORK]
    async with _process(command, folder / "tracker.log") as (process, ready):
        yield process, ready[0]


@asynccontextmanager
async def _process(command: list[str], log_path: Path) -> AsyncIterator[tuple[trio.Process, list[str]]]:
    """Runs a `shoal` command while the body runs; yields its process and the words after `ready`."""
    with log_path.open("ab") as log:
        process = await trio.lowlevel.open_process([*_SHOAL, *command], stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = b""
        with trio.move_on_after(READY_TIMEOUT_S):
            line = bytes(await process.stdout.receive_some())
        if not line.startswith(b"ready "):
            raise ShoalError(f"`shoal {command[2]}` did not start; run it by itself to see why.")
        yield process, line.decode().split()[1:]
    finally:
        if process.returncode is None:
            process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()


async def _shoal(peer: Peer, *arguments: str) -> Any:
    """Runs one command in the peer's home; returns its JSON answer. Raises CalledProcessError."""
    done = await trio.run_process(
        [*_SHOAL, "--home", str(peer.home), *arguments], capture_stdout=True, stderr=subprocess.DEVNULL
    )
    return json.loads(done.stdout)


async def _status(peer: Peer) -> StatusAnswer:
    async def ignore(_: Event) -> None:
        pass

    answer: StatusAnswer = await client.ask(peer.home, StatusRequest(), ignore)
    return answer


# Data.


def _make_data(folder: Path, size: int) -> tuple[int, int]:
    """Copies Python's library sources and makes one large file. Returns the number of files and their total size."""
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, folder / TEXT, ignore=_all_but_sources, symlinks=False, ignore_dangling_symlinks=True)
    noise = random.Random(7)
    with (folder / "large.bin").open("wb") as file:
        for at in range(0, size, 1 << 20):
            file.write(noise.randbytes(min(1 << 20, size - at)))
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _all_but_sources(folder: str, names: list[str]) -> set[str]:
    """What is not copied: packages of others, and what a job would unpack first, or could not read as text."""
    left_out = {"site-packages", "dist-packages", "__pycache__"}
    return {name for name in names if name in left_out or not (name.endswith(".py") or Path(folder, name).is_dir())}


def _plain_count(folder: Path) -> list[tuple[str, int]]:
    """The most frequent words of all files, counted without Shoal."""
    counts: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file():
            counts.update(path.read_bytes().decode("utf-8-sig", errors="replace").split())
    return sorted(counts.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)[:TOP]


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
