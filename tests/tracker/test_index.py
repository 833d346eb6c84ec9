"""Words, queries, kinds and places."""

import sqlite3
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.wire.tracker import Content, Kind
from tests.support.announces import listing
from tracker import index
from tracker.index import Query, read_query


@pytest.fixture(scope="module")
def words() -> Iterator[sqlite3.Connection]:
    """The table as the tracker makes it."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE words USING fts5 (name, contents, detail = column, columnsize = 0, "
        "tokenize = 'ascii', prefix = '2 3')"
    )
    yield connection
    connection.close()


def finds(words: sqlite3.Connection, text: str, name: str, contents: str = "") -> bool:
    query = read_query(text)
    if query is None:
        return False
    words.execute("DELETE FROM words")
    words.execute("INSERT INTO words VALUES (?, ?)", index.indexed(name, [Content(contents, 1)] if contents else []))
    return bool(words.execute("SELECT 1 FROM words WHERE words MATCH ?", (query.expression(),)).fetchall())


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("strasse", "Große Straße", True),
        ("CAFÉ", "cafe.txt", True),
        ("symphony beet", "Beethoven - Symphony No. 9", True),
        ("beet symphony", "Beethoven - Symphony No. 9", False),  # only the last word is taken for a beginning
        ("u2", "U2 live", True),
        ("船と", "船と海", True),
        ("naïve_2024", "naive 2024.zip", True),
        ("ﬁle", "file", True),
        ("ale", "gale", False),
    ],
)
def test_a_name_is_found_by_what_people_type(words: sqlite3.Connection, text: str, name: str, found: bool) -> None:
    assert finds(words, text, name) is found


@given(st.text(max_size=60), st.text(min_size=1, max_size=60))
def test_no_text_is_ever_a_syntax_error(words: sqlite3.Connection, text: str, name: str) -> None:
    finds(words, text, name)


@given(st.text(alphabet="\"'*():^-+{}~ abNEARORNOTAND\x00;%_[]", max_size=40))
def test_nor_is_the_syntax_of_queries_itself(words: sqlite3.Connection, text: str) -> None:
    finds(words, text, text or "x")


@given(st.text(min_size=1, max_size=80))
def test_a_name_is_found_by_itself(words: sqlite3.Connection, name: str) -> None:
    query = read_query(name)
    if query is not None:
        assert finds(words, name, name)
        assert finds(words, name, "other", name)
        assert query.score(name) == len(query.words)


def test_short_beginnings_are_taken_literally() -> None:
    assert read_query("a") == Query(("a",), False)
    assert read_query("ab") == Query(("ab",), True)
    assert read_query("...") is None


def test_a_query_has_bounds() -> None:
    query = read_query(" ".join(f"word{number}" for number in range(1000)))
    assert query is not None
    assert len(query.words) == index.MAX_QUERY_WORDS
    assert not query.prefix


def test_the_words_of_a_listing_are_bounded_and_each_once() -> None:
    paths = [Content(f"one two{number} " + " ".join(f"w{number}x{n}" for n in range(50)), 1) for number in range(50)]
    said = index.indexed("One name", paths)
    assert said.name == "one name"
    of_files = said.contents.split()
    assert len(of_files) == index.MAX_INDEXED_WORDS
    assert len(set(of_files)) == len(of_files)
    assert "one" not in of_files


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("song.FLAC", Kind.AUDIO),
        ("film.mkv", Kind.VIDEO),
        ("photo.jpeg", Kind.IMAGE),
        ("paper.pdf", Kind.DOCUMENT),
        ("disk.iso", Kind.ARCHIVE),
        ("tool.AppImage", Kind.PROGRAM),
        ("figures.csv", Kind.DATA),
        ("no extension", Kind.DATA),
        (".mp3/", Kind.DATA),
    ],
)
def test_a_kind_is_told_from_the_name(name: str, kind: Kind) -> None:
    assert index.kind_of(listing(1, name)) is kind


def test_of_several_files_the_most_bytes_decide() -> None:
    files = (Content("a/cover.jpg", 10), Content("a/1.flac", 500), Content("a/2.flac", 500), Content("notes.txt", 900))
    assert index.kind_of(msgspec.structs.replace(listing(1, "Album.zip"), contents=files)) is Kind.AUDIO


sizes = st.integers(0, 2**53 - 1)


@given(sizes, sizes)
def test_steps_of_size_keep_the_order(one: int, other: int) -> None:
    if one <= other:
        assert index.size_step(one) <= index.size_step(other) <= index.SIZE_MASK


@given(st.integers(0, index.MAX_LISTINGS - 1), st.integers(1, 2**40), st.integers(1, 300), st.sampled_from(Kind), sizes)
def test_a_place_holds_what_it_was_made_of(identifier: int, sources: int, length: int, kind: Kind, size: int) -> None:
    place = index.place(identifier, sources, length, kind, size)
    assert 0 < place < 2**63
    assert index.listing_at(place) == identifier
    assert index.kind_at(place) is kind
    assert place & index.SIZE_MASK == index.size_step(size)
    better = index.moved(place, 2 * sources)
    assert better < place
    assert index.moved(better, sources) == place
    assert index.place(identifier, sources, length + 1, kind, size) >= place


def test_the_file_that_matched_is_named_where_the_name_did_not() -> None:
    query = read_query("holiday beach")
    assert query is not None
    contents = [Content("notes.txt", 1), Content("img/beach.jpg", 1), Content("img/Holiday Beach.jpg", 1)]
    assert index.matched(query, "Photos", contents) == "img/Holiday Beach.jpg"
    assert index.matched(query, "Holiday at the beach", contents) is None
    assert index.matched(query, "Photos", []) is None
