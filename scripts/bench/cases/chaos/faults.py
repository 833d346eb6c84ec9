"""What befalls machines: processes are killed or stopped, disks are full, descriptors are used up, folders cannot be
read. Each is a context manager: what it broke is whole again at its end.
"""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from scripts.bench.cases.chaos.crew import PEERS, Crew, Member

BLOCK = 1 << 16
FILE_LIMITS = (64 << 10, 256 << 10, 1 << 20)


@contextmanager
def killed(crew: Crew, chance: Random) -> Iterator[str]:
    """kill -9 of a peer or the tracker, which is started again."""
    member = _other(crew, chance)
    member.kill()
    try:
        yield member.name
    finally:
        member.start()


@contextmanager
def stopped(crew: Crew, chance: Random) -> Iterator[str]:
    """A peer or the tracker that does nothing for a while, with its connections open."""
    member = _other(crew, chance)
    if not member.is_running():
        yield f"{member.name}: it is down anyway"
        return
    with _pause(member.pid):
        yield member.name


@contextmanager
def worker_killed(crew: Crew, chance: Random) -> Iterator[str]:
    """kill -9 of a worker or a guest of the node or of a peer."""
    member, place = _host(crew, chance)
    found = member.children()
    if found:
        _signal(found[int(place * len(found))], signal.SIGKILL)
    yield f"a child of {member.name}" if found else f"{member.name} has no child"


@contextmanager
def worker_stopped(crew: Crew, chance: Random) -> Iterator[str]:
    """A worker or guest that does nothing for a while."""
    member, place = _host(crew, chance)
    found = member.children()
    if not found:
        yield f"{member.name} has no child"
        return
    with _pause(found[int(place * len(found))]):
        yield f"a child of {member.name}"


@contextmanager
def disk_full(crew: Crew, chance: Random) -> Iterator[str]:
    """Not a byte free on the disk of the node's home and fetches, but for a little."""
    if not crew.has_own_disk:
        yield "left out: only root can mount a small disk"
        return
    spare = chance.choice((0, BLOCK, 16 * BLOCK))
    filler = crew.disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(BLOCK)):
                pass
        os.truncate(filler, max(0, filler.stat().st_size - spare))
        yield f"{spare} bytes left"
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def files_limited(crew: Crew, chance: Random) -> Iterator[str]:
    """No file of the node may grow past a small size, as under a quota."""
    most = chance.choice(FILE_LIMITS)
    _, hard = resource.prlimit(crew.node.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(crew.node.pid, resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield f"{most} bytes"
    finally:
        resource.prlimit(crew.node.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def no_descriptors(crew: Crew, chance: Random) -> Iterator[str]:
    """The node can open nothing more, or next to nothing. A `status` that is asked meanwhile waits until this ends."""
    few = chance.randrange(-8, 4)
    used = len(os.listdir(f"/proc/{crew.node.pid}/fd"))
    soft, hard = crew.node.descriptors
    resource.prlimit(crew.node.pid, resource.RLIMIT_NOFILE, (max(0, used + few), hard))
    try:
        yield f"{few:+} to those in use"
    finally:
        resource.prlimit(crew.node.pid, resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def folder_gone(crew: Crew, chance: Random) -> Iterator[str]:
    """The folder that the node or a peer shares is gone, as when a disk is unplugged, or something is in its place."""
    name = chance.choice(("node", *PEERS))
    instead = chance.choice(("nothing", "a file", "a link to nowhere", "an empty folder"))
    folder, aside = crew.source(name), crew.work / f"aside-{name}"
    folder.rename(aside)
    try:
        match instead:
            case "a file":
                folder.write_bytes(b"not a folder")
            case "a link to nowhere":
                folder.symlink_to(crew.work / "nowhere")
            case "an empty folder":
                folder.mkdir()
        yield f"of {name}, {instead} in its place"
    finally:
        if folder.is_dir():
            folder.rmdir()
        else:
            folder.unlink(missing_ok=True)
        aside.rename(folder)


@contextmanager
def files_unreadable(crew: Crew, chance: Random) -> Iterator[str]:
    """One of the files that the node shares may not be read, or, since root may read all, is a folder."""
    files = sorted(crew.source("node").iterdir())
    victim = chance.choice(files)
    with _unreadable(victim, crew.work / "aside-file"):
        yield victim.name


@contextmanager
def _unreadable(path: Path, aside: Path) -> Iterator[None]:
    if os.geteuid():
        path.chmod(0)
        try:
            yield
        finally:
            path.chmod(0o600)
        return
    path.rename(aside)
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        aside.rename(path)


def _other(crew: Crew, chance: Random) -> Member:
    """Anyone but the node under test."""
    name = chance.choice((*PEERS, "tracker"))
    return crew.tracker if name == "tracker" else crew.peers[name]


def _host(crew: Crew, chance: Random) -> tuple[Member, float]:
    """Somebody with workers, and which of them is meant, from 0 to 1. Draws the same whoever is running."""
    name, place = chance.choice(("node", "node", *PEERS)), chance.random()
    return crew.node if name == "node" else crew.peers[name], place


@contextmanager
def _pause(pid: int) -> Iterator[None]:
    _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
