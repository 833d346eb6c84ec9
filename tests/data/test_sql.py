"""`shoal sql`, as a user runs it: what it answers, what it may not touch, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.two_peers import OFFLINE, Shared
from tests.data.conftest import ROWS
from tests.support.processes import Peer, until

NOBODY = f"shoal://{'b' * 51}a"


def sql(shared: Shared, query: str, *options: str | Path, code: int = 0) -> str:
    outcome = shared.reader.run("sql", query.replace("LINK", shared.link), *options, code=code)
    return outcome.out if code == 0 else outcome.err


def test_a_query_reads_what_a_link_leads_to(shared: Shared) -> None:
    query = "select n, name from 't/parts/*.jsonl' where n < 2 order by n -- the first\n;"
    rows = [{"n": 0, "name": "name 0"}, {"n": 1, "name": "name 1"}]
    assert json.loads(sql(shared, query, "--share", f"t={shared.link}", "--format", "json")) == rows
    query = query.replace("t/", f"shoal://{shared.id}/")
    lines = sql(shared, query, "--format", "jsonl", "--peer", shared.link.rpartition("p.")[2]).splitlines()
    assert [json.loads(line) for line in lines] == rows
    names = sql(shared, "select name from 'LINK/*%23*.csv' union select name from 'LINK/a%5B1%5D%2A.csv' order by 1")
    assert names == "name\na[1]*.csv\nx#y?.csv\n"


def test_small_files_become_a_large_one(shared: Shared, tmp_path: Path) -> None:
    sql(shared, f"copy (from 'LINK/parts/*.jsonl' order by n) to '{tmp_path}/all.parquet'", "--allow", tmp_path)
    assert (tmp_path / "all.parquet").read_bytes()[:4] == b"PAR1"
    sql(shared, "select n from 'LINK/all.csv' order by n limit 2", "--out", tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == [{"n": 0}, {"n": 1}]
    sql(shared, "select error('no')", "--out", tmp_path / "failed.csv", code=1)
    assert sorted(os.listdir(tmp_path)) == ["all.parquet", "x.json"]


def test_to_save_an_answer_does_not_open_the_folder(shared: Shared, tmp_path: Path) -> None:
    private = tmp_path / "private.csv"
    private.write_text("a\nsecret\n")
    (tmp_path / "link.csv").symlink_to(private)
    for query in (
        f"from '{private}'",
        f"from '{tmp_path}/link.csv'",
        f"from glob('{tmp_path}/*')",
        f"copy (select 1) to '{private}'; select 1",
        f"copy (select 1) to '{tmp_path}/more.csv'; select 1",
    ):
        assert "--allow" in sql(shared, query, "--out", tmp_path / "x.csv", code=2)
    assert private.read_text() == "a\nsecret\n"
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "private.csv"]
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "way").symlink_to(folder)
    sql(shared, "select 1 as a", "--out", tmp_path / "way" / "it's.csv")
    assert (folder / "it's.csv").read_text() == "a\n1\n"


def test_what_is_wrong_is_told_in_words(shared: Shared) -> None:
    for query, options, code, words in (
        (f"from '{NOBODY}/*.csv'", ("--wait", "1s"), 3, "Nobody had this for 1 s"),
        ("select 1", ("--format", "parquet"), 2, "--out"),
    ):
        said = sql(shared, query, *options, code=code)
        assert words in said
        assert said.count("\n") == 1


LONG = "select sum(a.range * b.range) from range(1000000000) a, range(1000000000) b"


@pytest.mark.parametrize("query", [f"from '{NOBODY}/*.csv'", LONG])
def test_ctrl_c_ends_it(shared: Shared, tmp_path: Path, query: str) -> None:
    with shared.reader.start("sql", query, "--out", tmp_path / "x.csv", TMPDIR=str(tmp_path)) as running:
        until(lambda: any(tmp_path.glob("shoal-sql-*")), "the engine")
        assert running.end(signal.SIGINT).code == 130
    assert not list(tmp_path.iterdir())


def test_a_peer_is_started_if_none_runs(shared: Shared, tmp_path: Path) -> None:
    home = Peer(tmp_path / "home", environment=OFFLINE)
    assert home.run("sql", f"select count(*) c from '{shared.link}/all.csv'").out == f"c\n{ROWS}\n"


def test_without_duckdb_it_says_what_to_install(shared: Shared) -> None:
    program = "import sys; sys.modules['duckdb'] = None; from p2p.commandline.start import main; main()"
    command = [sys.executable, "-c", program, "--home", str(shared.reader.home), "sql", "select 1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "-m pip install '.[sql]'" in ended.stderr
