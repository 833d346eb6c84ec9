"""A peer that shares tables, and one that is asked for them."""

import json
from collections.abc import Iterator

import pytest

from tests.client.two_peers import Shared, sharing
from tests.support.leaks import clean as clean

ROWS = 100


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Tables with the columns `n` and `name`."""
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
    with sharing(folder, tables) as made:
        yield made
