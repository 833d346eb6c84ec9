"""Shoal as it is used: the installed command, a peer as a daemon, a share, a fetch into a fresh home.

Nothing of its code is imported: what is measured is what a user runs. The forms relied on are those of the command's
contract (`ready` line, `--json` answers).
"""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.support.measure import BenchError, Fetch, Sample, Server, run, serve

PROGRAM = Path(sys.executable).with_name("shoal")
NETWORK = ("--network", "bench", "--no-lan", "--no-dht", "--listen", "127.0.0.1:0")


@dataclass(frozen=True)
class Node:
    """A peer that serves."""

    server: Server
    home: Path
    address: str


def installed(notes: list[str]) -> bool:
    if not PROGRAM.exists():
        notes.append(f"shoal is not installed beside {PROGRAM.parent.name}/{Path(sys.executable).name}: skipped")
    return PROGRAM.exists()


@contextmanager
def node(home: Path, *options: str) -> Iterator[Node]:
    """Runs a peer of `home` in the background; yields it once it is ready."""
    argv = [str(PROGRAM), "--home", str(home), "node", *NETWORK, *options]
    with serve(argv, home.with_name(f"{home.name}.log")) as server:
        line = server.first_line()
        match line.split():
            case ["ready", _, address]:
                yield Node(server, home, address)
            case _:
                raise BenchError(f"not a ready line: {line!r}")


def share(sharing: Node, path: Path) -> tuple[str, Sample]:
    """Index and announce `path`; its link, and what that cost (`seconds` is the indexing alone)."""
    ran = run([str(PROGRAM), "--home", str(sharing.home), "share", str(path), "--json"], [sharing.server])
    answer = json.loads(ran.stdout)
    return str(answer["link"]), Sample.of(ran, float(answer["seconds"]))


def getting(link: str, sources: Sequence[Node], notes: list[str]) -> Fetch:
    """Fetch `link` as a foreground peer in a fresh home; notes a fetch that did not use every source."""

    def fetch(out: Path) -> Sample:
        home = out.with_name("getting")
        argv = [str(PROGRAM), "--home", str(home), "get", link, "--out", str(out), *NETWORK, "--json"]
        for source in sources:
            argv += ["--peer", source.address]
        ran = run(argv, [source.server for source in sources])
        shutil.rmtree(home)
        answer = json.loads(ran.stdout)
        used = answer["sources"] if isinstance(answer["sources"], int) else len(answer["sources"])
        if used != len(sources):
            notes.append(f"a fetch by shoal used {used} of {len(sources)} sources")
        return Sample.of(ran, float(answer["seconds"]))

    return fetch
