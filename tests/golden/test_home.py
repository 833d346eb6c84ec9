"""A home of schema 4 as an owner left it that was killed: its job and its fetch go on, and the rest is there.

Recorded by `python -m tests.golden.test_home FOLDER`: real peers, in homes of `/golden`, as the paths in the recording
have it. An entry that is there is never changed.
"""

import re
import signal
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p.compute.runtimes import runtime_for
from p2p.ids import to_text
from p2p.wire.link import PointerLink, parse_any_link
from tests.support.processes import Node, Peer, until
from tests.support.recordings import GOLDEN

ARCHIVE, PLACE = "home_4.tar.xz", "/golden"
CHUNK = 256 * 1024
CHUNKS = 24
UNITS = 16
JOB = f"""
def work(n):
    print("at", n)
    return sum(i * i % 7 for i in range(100_000)) * 0 + n


def job(inputs, offset):
    lines = inputs.lines().count()
    pairs = inputs.range({UNITS}).map(lambda n: (n % 3, work(n) + offset)).reduce_by_key(lambda a, b: a + b)
    return [lines, *sorted(pairs.collect())]
"""
RESULT = [100, *([rest, sum(100 + n for n in range(rest, UNITS, 3))] for rest in range(3))]
CONFIG = """\
[transfer]
upload_slots = 7

[volunteer]
cache_bytes = 123456789
"""
LONELY = ("--no-lan", "--no-dht")
UNTOUCHED = ("nonce", "contact", "publication", "pointer", "version")
TEXTS = [("job", "CAST(description AS TEXT)"), ("share", "paths"), ("fetch", "folder"), ("version", "folder")]
"""Where paths are, by table."""


def fetched() -> bytes:
    """What the stopped fetch is of."""
    return b"".join(bytes([number, 255]) * (CHUNK // 2) for number in range(CHUNKS))


def move(database: Path, before: str, after: str) -> None:
    """Changes the beginning of every path that a database has."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, text in TEXTS:
            column = text.removeprefix("CAST(").removesuffix(" AS TEXT)")
            new = f"replace({text}, ?, ?)"
            new = new if column == text else f"CAST({new} AS BLOB)"
            connection.execute(f"UPDATE {table} SET {column} = {new}", [before, after])


def rows(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of a home's database, by table."""
    with closing(sqlite3.connect(home / "shoal.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables}


def count(home: Path, table: str, where: str = "TRUE") -> int:
    with closing(sqlite3.connect(home / "shoal.db")) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
        return int(found)


@contextmanager
def volunteer(folder: Path) -> Iterator[Node]:
    """The peer that works for the job, and has what is fetched."""
    data = folder / "source" / "data.bin"
    data.parent.mkdir()
    data.write_bytes(fetched())
    peer = Peer(folder / "volunteer")
    with peer.node("--volunteer", "--cores", "1", "--no-lan") as node:
        peer.run("share", data)
        yield node


def record(folder: Path) -> None:
    trio.run(runtime_for, "python-wasm", lambda text: None)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "golden"
        leave(Path(name), place)
        tidy(place / "home")
        move(place / "home" / "shoal.db", str(place), PLACE)
        with tarfile.open(folder / ARCHIVE, "w:xz", preset=9) as archive:
            archive.add(place, PLACE[1:])


def leave(around: Path, place: Path) -> None:
    """A home as its peer leaves it that is killed."""
    files, home = place / "files", place / "home"
    files.mkdir(parents=True)
    (files / "job.py").write_text(JOB)
    (files / "lines.txt").write_text("".join(f"line {n}\n" for n in range(100)))
    (files / "song.txt").write_text("la la la\n")
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(CONFIG)
    peer = Peer(home)
    with volunteer(around) as other, peer.node("--no-lan", "--join", other.address) as node:
        (found,) = peer.run("browse", other.address, "--json").json()
        peer.run("share", files / "song.txt", "--as", "news")
        peer.run("share", files / "job.py", "--unlisted", "--name", "hidden")
        until(lambda: count(home, "publication") > 0, "something published")
        with peer.start("get", found["link"], "--out", place / "got", "--limit", "512KiB") as getting:
            until(lambda: count(home, "fetch", "durable != x''") > 0, "chunks on the disk")
            getting.end()
        options = ("--input", files / "lines.txt", "--arg", "offset=100", "--partitions", str(UNITS), "--wait", "60s")
        with peer.start(
            "run", files / "job.py", *options, "--peer", other.address, "--runtime", "python-wasm"
        ) as running:
            until(lambda: count(home, "job_unit", "action = 1") >= 4, "four units")
            node.end(signal.SIGKILL)
            running.wait()


def tidy(home: Path) -> None:
    """Without what only the process had, or leads to others; the database is one file."""
    for name in ("control.sock", "lock"):
        (home / name).unlink(missing_ok=True)
    with closing(sqlite3.connect(home / "shoal.db")) as connection:
        connection.create_function("nobody_at", 1, lambda text: re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", text))
        connection.execute("UPDATE fetch SET boot = 'long ago', sources = nobody_at(sources)")
        connection.execute("UPDATE job SET description = CAST(nobody_at(CAST(description AS TEXT)) AS BLOB)")
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The recorded home, at another place than it was."""
    trio.run(runtime_for, "python-wasm", lambda text: None)
    with tarfile.open(GOLDEN / ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    home = tmp_path / PLACE[1:] / "home"
    move(home / "shoal.db", PLACE, str(home.parent))
    return home


def test_a_recorded_job_goes_on_without_what_was_done(home: Path, tmp_path: Path) -> None:
    peer, before = Peer(home), rows(home)
    (stopped,) = peer.run("jobs", "--json").json()
    done = {f"1.{stage}.{partition}" for _, _, stage, partition, *_ in before["job_unit"]}
    assert (stopped["state"], stopped["name"], len(done) >= 4) == ("stopped", "job.py", True)
    with volunteer(tmp_path) as node:
        resume = ("run", "--resume", stopped["job"][:8], "--peer", node.address, *LONELY, "--json")
        answer = peer.run(*resume).json()
        assert (answer["result"], answer["job"], answer["state"]) == (RESULT, stopped["job"], "done")
        stages = {f"1.0.{partition}" for partition in range(UNITS)}
        printed = [row["unit"] for row in peer.run("logs", stopped["job"], "--json").json() if row["peer"] == node.peer]
        assert sorted(printed) == sorted(stages - done), "each once, and only what was not done"
        got = peer.run(
            "get",
            to_text(before["fetch"][0][1]),
            "--out",
            home.parent / "got",
            "--peer",
            node.address,
            *LONELY,
            "--json",
        )
        durable = sum(byte.bit_count() for byte in before["fetch"][0][4])
        assert durable > 0
        assert got.json()["received"] == (CHUNKS - durable) * CHUNK
    assert [path.name for path in (home.parent / "got").iterdir()] == ["data.bin"]
    assert (home.parent / "got" / "data.bin").read_bytes() == fetched()
    assert list((home / "jobs").iterdir()) == []
    after = rows(home)
    assert [after[name] for name in UNTOUCHED] == [before[name] for name in UNTOUCHED]
    assert {row[1] for row in after["share"]} == {"song.txt", "hidden"}, "what was for the job is gone"


def test_what_a_recorded_home_shares_and_is_set_to(home: Path) -> None:
    peer, song = Peer(home), home.parent / "files" / "song.txt"
    ((publisher, name, version, *_),) = rows(home)["pointer"]
    with peer.node(*LONELY) as node:
        listed = {row["name"]: row for row in peer.run("shares", "--json").json()}
        assert {name: row["unlisted"] for name, row in listed.items()} == {
            "song.txt": False,
            "hidden": True,
            "lines.txt": True,
        }
        assert listed["song.txt"]["paths"] == [str(song)]
        (pointer,) = map(parse_any_link, listed["song.txt"]["pointers"])
        assert isinstance(pointer, PointerLink)
        assert (pointer.publisher, pointer.name) == (publisher, name)
        assert node.peer == to_text(publisher)
        again = peer.run("share", song, "--as", name, "--json").json()
        assert (again["id"], again["pointer"]) == (listed["song.txt"]["id"], *listed["song.txt"]["pointers"])
        assert again["version"] > version
    settings = peer.run("config", "--json").json()
    assert (settings["transfer"]["upload_slots"], settings["volunteer"]["cache_bytes"]) == (7, 123_456_789)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
