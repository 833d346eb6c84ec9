"""The peers of the cases: one that shares, and one that is asked for what it shares."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.support import shoal
from scripts.bench.support.measure import BenchError, run


@dataclass(frozen=True)
class Reader:
    """A peer that is asked, and a link to the share that is read."""

    node: shoal.Node
    link: str
    share: str

    @property
    def socket(self) -> Path:
        return self.node.home / "control.sock"

    @property
    def downloaded(self) -> int:
        """How many bytes it has fetched so far."""
        ran = run([str(shoal.PROGRAM), "--home", str(self.node.home), "status", "--json"])
        return int(json.loads(ran.stdout)["downloaded"])


@contextmanager
def owner(work: Path, folder: Path) -> Iterator[Reader]:
    """A peer that shares a folder, and is asked for it itself."""
    with shoal.node(work / "owner") as node:
        link, _ = shoal.share(node, folder)
        yield Reader(node, link, share_of(link))


@contextmanager
def reader(work: Path, of: Reader) -> Iterator[Reader]:
    """A new peer that has nothing yet, and reads what another shares."""
    home = work / "reader"
    try:
        with shoal.node(home) as node:
            yield Reader(node, of.link, of.share)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def share_of(link: str) -> str:
    """The id in a link, without its checksum."""
    share = link.split("/")[1][:52]
    if len(share) != 52:
        raise BenchError(f"not a link: {link!r}")
    return share


def address(of: Reader, name: str) -> str:
    return f"shoal://{of.share}/{name}"


def url(of: Reader, name: str) -> str:
    return f"http://shoal/s/{of.share}/{name}"


def size(path: Path) -> int:
    return os.path.getsize(path)
