"""Dask on two peers that lend to a third: from the terminal, with a member killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.clusters.engines import environment
from tests.support.clusters.native import UIDS, needs_bubblewrap
from tests.support.processes import PATIENCE_S, Node, Peer, until

pytestmark = needs_bubblewrap

SUM = """
import dask.array as da
from distributed import Client
with Client() as client:
    array = da.random.default_rng(1).random((4000, 4000), chunks=500)
    print("sum", round(float((array - array + 1).sum().compute())))
"""
SLOW = """
import time
from distributed import Client
def slow(number):
    time.sleep(0.2)
    return number
with Client() as client:
    futures = client.map(slow, range(60), retries=5)
    futures[0].result()
    print("begun", flush=True)
    print("sum", sum(client.gather(futures)))
"""

PROGRAM = """
import sys
import urllib.request
from distributed import Client
from p2p import DaskCluster
home, env, *peers = sys.argv[1:]
with DaskCluster(members=1, home=home, env=env, peers=peers, memory="512MiB") as cluster, Client(cluster) as client:
    print("sum", sum(client.gather(client.map(lambda number: number**2, range(10)))))
    print("dashboard", urllib.request.urlopen(cluster.dashboard_link).status)
    cluster.scale(2)
    client.wait_for_workers(2, timeout=60)
    with DaskCluster.from_name(cluster.name, home=home) as same:
        print("workers", len(same.workers), "Workers" in same._repr_html_())
    print("still", len(client.scheduler_info()["workers"]))
    cluster.adapt(minimum=0, maximum=2, interval="200ms", wait_count=2)
    while cluster.workers:
        client.run_on_scheduler(lambda: None)
    print("again", client.submit(lambda: 7).result(timeout=60))
print("closed")
"""


class Fleet(NamedTuple):
    """An owner, and the peers that lend to it."""

    owner: Peer
    members: list[Node]
    venv: Path

    def python(self, code: str, name: str = "dask") -> tuple[str | Path, ...]:
        return "cluster", "run", name, "--", self.venv / "bin" / "python", "-c", code

    def list(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.owner.run("cluster", "list", "--json").json()
        return answer


@pytest.fixture(scope="module")
def venv() -> Iterator[Path]:
    with environment("distributed", "numpy") as made:
        yield made


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, venv: Path) -> Iterator[Fleet]:
    """Three nodes; the owner and the members have listed each other. The environment is packed once for all tests."""
    folder = tmp_path_factory.mktemp("fleet")
    peers = [Peer(folder / name) for name in ("owner", "first", "second")]
    with ExitStack() as stack:
        for peer in peers:
            peer.home.mkdir(mode=0o700)
            (peer.home / "config.toml").write_text(f"[cluster]\nuids = {list(UIDS)}\n")
        owner, *members = [stack.enter_context(peer.node("--no-lan")) for peer in peers]
        for peer, member in zip(peers[1:], members, strict=True):
            peer.run("cluster", "allow", owner.peer)
            peers[0].run("cluster", "trust", member.peer)
        yield Fleet(peers[0], members, venv)


def processes_of_members() -> list[str]:
    """The command lines of all processes that sandboxes of the tests' users have on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if UIDS[0] <= path.stat().st_uid < sum(UIDS):
                found.append((path / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_program_makes_a_cluster_of_its_own(fleet: Fleet) -> None:
    peers = [f"{node.peer}@{node.address}" for node in fleet.members]
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(fleet.owner.home), str(fleet.venv), *peers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    said = ["sum 285", "dashboard 200", "workers 2 True", "still 2", "again 7", "closed"]
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr
    assert fleet.list()["clusters"] == []


def test_who_does_not_lend_is_named_with_the_reason(fleet: Fleet) -> None:
    owner, stranger = fleet.owner, fleet.members[0]
    start = ("cluster", "start", "dask", "--env", fleet.venv, "--wait", "2", "--memory", "900TiB")
    outcome = owner.run(*start, "--peer", f"{stranger.peer}@{stranger.address}", code=3)
    assert stranger.peer[:8] in outcome.err
    assert "900 TiB" in outcome.err


def test_a_cluster_of_dask_survives_the_loss_of_a_member_and_leaves_nothing(fleet: Fleet) -> None:
    # The last, since it kills a node.
    owner = fleet.owner
    named = [word for node in fleet.members for word in ("--peer", f"{node.peer}@{node.address}")]
    start = ("cluster", "start", "dask", "--members", "2", "--env", fleet.venv, "--memory", "512MiB")
    row = owner.run(*start, *named, "--json").json()
    assert (row["state"], row["missing"], len(row["members"])) == ("running", "", 3)
    assert owner.run(*fleet.python(SUM)).out == "sum 16000000\n"
    program = owner.home.parent / "sum.py"
    program.write_text(SUM)
    sent = owner.run("cluster", "run", "dask", "--", fleet.venv / "bin" / "python", program)
    assert (sent.out, "sending sum.py" in sent.err) == ("sum 16000000\n", True)
    assert owner.run(*fleet.python("import sys; print('no'); sys.exit(7)"), code=7).out == "no\n"

    with owner.start(*fleet.python(SLOW)) as running:
        assert running.line() == "begun"
        fleet.members[1].send(signal.SIGKILL)
        outcome = running.wait()
    assert (outcome.code, outcome.out) == (0, f"begun\nsum {sum(range(60))}\n")
    until(lambda: len(fleet.list()["clusters"][0]["members"]) == 2, "the loss to be noticed")

    trusted = fleet.members[0].peer
    owner.run("cluster", "trust", trusted, "--remove")
    until(lambda: len(fleet.list()["clusters"][0]["members"]) == 1, "the member to be given back")

    assert "Scheduler at:" in owner.run("cluster", "logs", "dask", "--member", "0").out
    owner.run("cluster", "stop", "dask")
    assert fleet.list()["clusters"] == []
    assert not list((owner.home / "clusters").iterdir())
    until(lambda: not processes_of_members(), "the sandboxes to be gone")
