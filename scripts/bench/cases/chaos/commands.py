"""What users do meanwhile: they share, fetch and run jobs, some of which fail, and some commands are killed in the
middle. In the middle of chaos a command may fail, but must say so in words; what it says is done must be right.
"""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from scripts.bench.cases.chaos.crew import PEERS, Crew, fill
from scripts.bench.cases.chaos.typed import typed
from scripts.bench.support.data import check_same
from scripts.bench.support.measure import ENVIRONMENT, BenchError, run

JOB = """\
def work(number):
    for _ in range(200_000):
        pass
    return 1 // (number - {bad})

def job(inputs):
    return inputs.range({units}).filter(lambda number: work(number) < 2).count()
"""
UNITS = 24
NOBODY = "60s"
JOB_OPTIONS = ("--runtime", "python-wasm", "--partitions", "12", "--json", "--wait", NOBODY)
LONGEST_S = 180.0


def prepare(crew: Crew) -> None:
    """Shares a folder of each peer and of the node, and has each kind of command done once."""
    for name, peer in {"node": crew.node, **crew.peers}.items():
        shutil.copytree(fill(crew.source(name)), crew.kept(name))
        said = run(peer.argv("share", crew.source(name), "--json"), timeout_s=LONGEST_S)
        crew.links[name] = str(json.loads(said.stdout)["link"])
    prove(crew, "before")
    failing = _job(crew, "failing", bad=3)
    ran = subprocess.run(failing, capture_output=True, env=ENVIRONMENT, timeout=LONGEST_S, check=False)
    if ran.returncode != 1:
        told = ran.stderr.decode(errors="replace")[-500:]
        raise BenchError(f"a job that fails ends with exit code {ran.returncode} instead of 1:\n{told}")


def prove(crew: Crew, when: str) -> None:
    """A new share of the node goes to a peer, one of a peer to the node, and a job through. Raises BenchError."""
    for sharer, getter in ((crew.node, crew.peers["peer0"]), (crew.peers["peer1"], crew.node)):
        files = fill(crew.work / f"{when}-{sharer.name}")
        out = (crew.disk if getter is crew.node else crew.work) / f"{when}-out"
        out.mkdir()
        link = json.loads(run(sharer.argv("share", files, "--json"), timeout_s=LONGEST_S).stdout)["link"]
        run(getter.argv("get", link, "--out", out, "--peer", sharer.spoken_address), timeout_s=LONGEST_S)
        check_same(files, out / files.name)
        for holder in (sharer, getter):
            run(holder.argv("unshare", link), timeout_s=LONGEST_S)
        shutil.rmtree(out)
        shutil.rmtree(files)
    for argv in (_job(crew, when), _job(crew, when, owner="peer0")):
        answer = json.loads(run(argv, timeout_s=LONGEST_S).stdout)
        if answer["result"] != UNITS:
            raise BenchError(f"WRONG RESULT: {answer['result']} instead of {UNITS}")


@contextmanager
def getting(crew: Crew, chance: Random) -> Iterator[str]:
    """The node fetches what a peer shares, or a peer what the node shares."""
    sharer, getter = chance.choice([("peer0", "node"), ("peer1", "node"), ("node", "peer0"), ("node", "peer1")])
    home = crew.node if getter == "node" else crew.peers[getter]
    out = (crew.disk if getter == "node" else crew.work) / f"out-{chance.randrange(10**9)}"
    out.mkdir()
    try:
        with typed(crew.work, home.argv("get", crew.links[sharer], "--out", out, "--wait", NOBODY)) as command:
            yield f"{getter} from {sharer}"
        if command.code == 0:
            check_same(crew.kept(sharer), out / crew.source(sharer).name)
    finally:
        shutil.rmtree(out, ignore_errors=True)


@contextmanager
def sharing(crew: Crew, chance: Random) -> Iterator[str]:
    """The node shares a new folder, and stops sharing it."""
    folder = fill(crew.work / f"new-{chance.randrange(10**9)}", chance.randrange(1, 40))
    with typed(crew.work, crew.node.argv("share", folder, "--json")) as command:
        yield folder.name
    if command.code in (0, 4):
        with typed(crew.work, crew.node.argv("unshare", json.loads(command.out)["link"])):
            pass
    shutil.rmtree(folder)


@contextmanager
def job(crew: Crew, chance: Random) -> Iterator[str]:
    """A job of the node."""
    name = f"job-{chance.randrange(10**9)}"
    with typed(crew.work, _job(crew, name)) as command:
        yield name
    if command.code == 0 and json.loads(command.out)["result"] != UNITS:
        raise BenchError(f"WRONG RESULT of {name}")


@contextmanager
def failing_job(crew: Crew, chance: Random) -> Iterator[str]:
    """A job of the node, or of a peer on the node's cores, with a record that its program cannot stand."""
    bad, owner = chance.randrange(UNITS), chance.choice(("node", PEERS[0]))
    name = f"failing-{chance.randrange(10**9)}"
    with typed(crew.work, _job(crew, name, owner=owner, bad=bad), shows_traceback=True) as command:
        yield f"record {bad}, of {owner}"
    if command.code == 0:
        raise BenchError(f"WRONG RESULT of {name}: it cannot end well")


@contextmanager
def command_killed(crew: Crew, chance: Random) -> Iterator[str]:
    """A command at the node that is killed or interrupted, somewhere between its start and its end."""
    kind, number = (
        chance.choice(("get", "run", "share")),
        chance.choice((signal.SIGKILL, signal.SIGINT, signal.SIGTERM)),
    )
    after_s = chance.uniform(0.0, 6.0)
    tag = chance.randrange(10**9)
    out = crew.disk / f"killed-{tag}"
    out.mkdir()
    argv = {
        "get": crew.node.argv("get", crew.links[chance.choice(PEERS)], "--out", out),
        "run": _job(crew, f"killed-{tag}"),
        "share": crew.node.argv("share", crew.source("node"), "--rehash", "--json"),
    }[kind]
    try:
        with typed(crew.work, argv) as command:
            command.wait(after_s)
            command.process.send_signal(number)
            yield f"{kind}, {number.name} after {after_s:.1f} s"
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _job(crew: Crew, name: str, *, owner: str = "node", bad: int = -1) -> list[str]:
    path = crew.work / f"{name}.py"
    path.write_text(JOB.format(bad=bad, units=UNITS))
    if owner == "node":
        return crew.node.argv("run", path, *JOB_OPTIONS, *crew.volunteers())
    return crew.peers[owner].argv("run", path, *JOB_OPTIONS, "--peer", crew.node.spoken_address)
