# ruff: noqa: RUF001 - letters that look like others are what this is about
"""E: what people search for is found, in their script, as they type it: at a tracker, and over the DHT."""

from pathlib import Path

import pytest

from p2p.core.dht import publications
from p2p.ids import ShareId
from p2p.wire import keywords
from p2p.wire.records import keyword_key
from p2p.wire.tracker import Announce
from tests.support.announces import HOST, NETWORK, URL, listing, peer_id
from tracker import queries
from tracker.changes import Said, Taken
from tracker.database import Database
from tracker.index import Filter
from tracker.limits import Limits
from tracker.store import Store

CASES = [
    ("फोटो", "शादी की फोटो.zip"),
    ("ছবি", "আমার ছবি 2023"),
    ("தமிழ்", "தமிழ் பாடல்கள்"),
    ("R&B", "Best of R&B vol. 3"),
    ("c++", "The C++ Programming Language.pdf"),
    ("c#", "Learn C# in a week"),
    ("lodz", "Łódź po zmroku.mp4"),
    ("smorrebrod", "Smørrebrød på dansk"),
    ("strasse", "Straße der Lieder"),
    ("igdir", "IĞDIR türküleri"),
    ("タワー", "東京タワーの夜景.jpg"),
    ("北京", "夏天的北京.mkv"),
    ("กรุงเทพ", "เที่ยวกรุงเทพมหานคร"),
    ("dont look up", "Don’t Look Up (2021)"),
    ("کتاب", "كتاب.pdf"),
    ("קובץ", "קוֹבֶץ חשוב"),
]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracker's database with a listing of each name."""
    path = tmp_path_factory.mktemp("tracker") / "tracker.db"
    said = Announce(URL, NETWORK, 1, reset=True, add=tuple(listing(n, name) for n, (_, name) in enumerate(CASES)))
    with Database(path) as database:
        (taken,) = Store(database, Limits()).take_in([Said(peer_id(1), said, HOST, HOST)], 1000.0)
    assert isinstance(taken, Taken)
    assert taken.refused == ()
    return path


@pytest.mark.parametrize(("query", "name"), CASES)
def test_what_is_typed_finds_the_name(query: str, name: str, tracker: Path) -> None:
    """typesense/typesense#228, meilisearch/product#132, projectEndings/staticSearch#164."""
    with Database(tracker) as database, database.reading() as connection:
        answer = queries.search(connection, query, Filter(), limit=9, cursor="", now=1001.0, tracker="")
    assert [one.name for one in answer.results] == [name]

    wanted = keywords.wanted(query)
    published = {item.key for item in publications.keyword_items([(ShareId(bytes(32)), name, 1)])}
    assert keyword_key(keywords.most_telling(wanted)) in published
    assert keywords.matches(wanted, name)
