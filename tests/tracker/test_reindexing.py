"""A tracker's database of before: its index is built again with today's words, once."""

import lzma
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from p2p.wire import keywords
from tests.support.recordings import GOLDEN
from tracker import index, queries
from tracker.database import Database
from tracker.index import Filter
from tracker.limits import Limits
from tracker.store import Store

NAMES = {"Łódź nocą.jpg", "फोटो 2024", "C++ Primer.pdf", "R&B Classics", "東京タワー", "plain words"}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A database of schema 1, with six listings; three have two sources."""
    path = tmp_path / "tracker.db"
    path.write_bytes(lzma.decompress((GOLDEN / "tracker_1.db.xz").read_bytes()))
    return path


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    with Database(path) as database:
        Store(database, Limits())
        yield database


def found(database: Database, text: str) -> set[str]:
    with database.reading() as connection:
        answer = queries.search(connection, text, Filter(), limit=9, cursor="", now=1001.0, tracker="")
    return {one.name for one in answer.results}


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_what_was_announced_before_is_found_by_words_of_today(earlier: Path) -> None:
    assert rows(earlier, "PRAGMA user_version") == [(1,)]
    sources = rows(earlier, "SELECT name, live, backers FROM listings JOIN shares ON shares.id = listings.share")
    with opened(earlier) as database:
        assert found(database, "lodz") == {"Łódź nocą.jpg"}
        assert found(database, "फोटो") == {"फोटो 2024"}
        assert found(database, "c++") == {"C++ Primer.pdf"}
        assert found(database, "r&b") == found(database, "dont") == {"R&B Classics"}
        assert found(database, "京タワ") == found(database, "夜景") == {"東京タワー"}
        assert found(database, "plain") == found(database, "inner") == {"plain words"}
        assert found(database, "") == NAMES
    assert (
        rows(earlier, "SELECT name, live, backers FROM listings JOIN shares ON shares.id = listings.share") == sources
    )
    assert rows(earlier, "SELECT place FROM listings ORDER BY 1") == rows(earlier, "SELECT rowid FROM words ORDER BY 1")
    for place, live in rows(earlier, "SELECT place, live FROM listings JOIN shares ON shares.id = listings.share"):
        assert isinstance(place, int)
        assert isinstance(live, int)
        assert index.moved(place, live) == place, "those with more sources still come first"


def test_the_index_is_built_again_only_for_another_version(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def marked() -> list[tuple[object, ...]]:
        return rows(earlier, "SELECT count(*) FROM words WHERE words MATCH 'mark'")

    with opened(earlier) as database, database.writing() as connection:
        connection.execute("INSERT INTO words (rowid, name, contents) VALUES (1, 'mark', '')")
    with opened(earlier):
        pass
    assert marked() == [(1,)]
    monkeypatch.setattr(keywords, "VERSION", keywords.VERSION + 1)
    with opened(earlier):
        pass
    assert marked() == [(0,)]


def test_a_tracker_killed_while_it_rebuilds_begins_again(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(Exception):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(index, "indexed", die)
        with pytest.raises(Killed), opened(earlier):
            pass
    with opened(earlier) as database:
        assert found(database, "lodz") == {"Łódź nocą.jpg"}
