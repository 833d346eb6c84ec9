"""Two peers of processes of their own: `owner` shares tables, `reader` is asked for them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.leaks import clean as clean
from tests.support.processes import Peer

ROWS = 100
OFFLINE = {"SHOAL_NETWORK_DHT": "false"}


class Shared(NamedTuple):
    """A share of some tables with the columns `n` and `name`, and the peer that reads it."""

    owner: Peer
    reader: Peer
    folder: Path
    link: str
    id: str


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("data")
    tables = folder / "tables"
    (tables / "parts").mkdir(parents=True)
    lines = [f"{n},name {n % 10}\n" for n in range(ROWS)]
    (tables / "all.csv").write_text("n,name\n" + "".join(lines))
    for name in ("a[1]*.csv", "x#y?.csv"):
        (tables / name).write_text(f"n,name\n7,{name}\n")
    for at in range(0, ROWS, 10):
        rows = "".join(json.dumps({"n": n, "name": f"name {n % 10}"}) + "\n" for n in range(at, at + 10))
        (tables / "parts" / f"{at}.jsonl").write_text(rows)
    owner, reader = (Peer(folder / name, environment=OFFLINE) for name in ("owner", "reader"))
    with owner.node(), reader.node():
        answer = owner.run("share", tables, "--json").json()
        yield Shared(owner, reader, folder, answer["link"], answer["id"])
