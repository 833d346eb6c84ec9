"""The store against a model of it: whatever is announced in whatever order, what is told is what holds."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2p.errors import NotFound, StorageError
from p2p.ids import to_text
from p2p.wire.tracker import Announce, Capacity, Listing, Provided, key_from_text, provider_key
from tests.support.announces import NETWORK, URL, key, listing, peer_id, provided, share
from tests.support.constants import Shorten
from tracker import queries
from tracker.changes import RESET_GRACE_S, Conflict, NoRoom, Outcome, Said, Taken
from tracker.database import Database
from tracker.index import Filter
from tracker.limits import Limits
from tracker.store import Store

PEERS, SHARES = 3, 5
HOST = "203.0.113.7"
NAMES = ("alpha", "beta alpha", "gamma")


def announce(sequence: int, **said: Any) -> Announce:
    return Announce(URL, NETWORK, sequence, **said)


@dataclass
class _Peer:
    """What a tracker must know of a peer."""

    sequence: int = 0
    expires: float = 0.0
    has: dict[int, tuple[str | None, bool]] = field(default_factory=dict)
    """Of shares, the name if it is listed, and whether whole."""


peers = st.integers(0, PEERS - 1)
shares = st.integers(0, SHARES - 1)
changes = st.lists(st.tuples(shares, st.sampled_from([*NAMES, None, "drop"]), st.booleans()), max_size=6)


class Announcing(RuleBasedStateMachine):
    """Peers announce, start over, leave and expire; time passes; old rows are swept at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.database = Database(Path(self.folder) / "tracker.db")
        self.store = Store(self.database, Limits())
        self.model = [_Peer() for _ in range(PEERS)]
        self.now = 1000.0

    def say(self, peer: int, what: Announce) -> Outcome:
        [outcome] = self.store.take_in([Said(peer_id(peer), what, HOST, HOST)], self.now)
        return outcome

    @rule(peer=peers, said=changes, reset=st.booleans(), expires=st.integers(60, 300))
    def announce(self, peer: int, said: list[tuple[int, str | None, bool]], reset: bool, expires: int) -> None:
        known = self.model[peer]
        # One change of each share: the last one said.
        wanted = {number: (name, whole) for number, name, whole in said}
        add: list[Listing] = []
        provide: list[Provided] = []
        drop: list[str] = []
        for number, (name, whole) in wanted.items():
            if name == "drop":
                drop.append(key(number))
            elif name is None:
                provide.append(provided(number, whole=whole))
            else:
                add.append(listing(number, name, whole=whole))
        sequence = known.sequence + 1
        what = announce(
            sequence,
            previous=known.sequence,
            reset=reset,
            expires_s=expires,
            add=tuple(add),
            provide=tuple(provide),
            drop=tuple(drop),
        )
        is_known = reset or not known.sequence or known.expires > self.now
        outcome = self.say(peer, what)
        if not is_known:
            assert outcome == Conflict(known.sequence)
            return
        if reset or known.expires <= self.now:
            known.has = {}
        for number, (name, whole) in wanted.items():
            if name == "drop":
                known.has.pop(number, None)
            else:
                known.has[number] = (name, whole)
        known.sequence, known.expires = sequence, self.now + expires
        assert isinstance(outcome, Taken)
        assert outcome.shares == len(known.has)
        assert outcome.refused == ()

    @rule(peer=peers, back=st.integers(0, 3), reset=st.booleans())
    def say_an_old_one_again(self, peer: int, back: int, reset: bool) -> None:
        known = self.model[peer]
        sequence = known.sequence - back
        if sequence >= 1:
            outcome = self.say(peer, announce(sequence, previous=sequence - 1, reset=reset, add=(listing(9, "old"),)))
            assert outcome == Conflict(known.sequence)

    @rule(peer=peers, ahead=st.integers(1, 3))
    def build_on_what_was_never_said(self, peer: int, ahead: int) -> None:
        known = self.model[peer]
        outcome = self.say(peer, announce(known.sequence + 9, previous=known.sequence + ahead))
        assert outcome == Conflict(known.sequence)

    @rule(peer=peers)
    def leave(self, peer: int) -> None:
        known = self.model[peer]
        outcome = self.say(peer, announce(known.sequence + 1, previous=known.sequence, bye=True))
        if known.sequence and known.expires <= self.now:
            assert outcome == Conflict(known.sequence)
        else:
            assert isinstance(outcome, Taken)
            known.sequence, known.expires, known.has = known.sequence + 1, 0.0, {}

    @rule(passed=st.floats(0.1, 200))
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule()
    def expire(self) -> None:
        self.store.expire(self.now)

    @rule()
    def sweep(self) -> None:
        self.store.sweep(self.now)

    @invariant()
    def sources_are_those_who_said_so(self) -> None:
        with self.database.reading() as connection:
            for number in range(SHARES):
                raw = key_from_text(key(number))
                told = queries.sources(connection, raw, HOST, self.now, Random(1)).sources
                assert {(source.peer, source.whole) for source in told} == {
                    (to_text(peer_id(peer)), known.has[number][1])
                    for peer, known in enumerate(self.model)
                    if known.expires > self.now and number in known.has
                }

    @invariant()
    def a_peer_lists_what_it_said(self) -> None:
        with self.database.reading() as connection:
            for peer, known in enumerate(self.model):
                if known.expires <= self.now:
                    with pytest.raises(NotFound):
                        queries.peer(connection, peer_id(peer), limit=50, cursor="", now=self.now, tracker="")
                    continue
                view = queries.peer(connection, peer_id(peer), limit=50, cursor="", now=self.now, tracker="")
                listed = {(to_text(share(number)), name) for number, (name, _) in known.has.items() if name}
                assert {(found.share, found.name) for found in view.shares} == listed
                assert view.total == len(listed)

    @rule()
    def settle(self) -> None:
        """After all has been swept, nothing is left but what holds, and every count is right."""
        self.store.expire(self.now)
        while self.store.sweep(self.now + RESET_GRACE_S + 1):
            pass
        live = [known for known in self.model if known.expires > self.now]
        names = {(number, name) for known in live for number, (name, _) in known.has.items() if name}
        with self.database.reading() as connection:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                return connection.execute(sql).fetchall()

            for word in ("alpha", "beta", "gamma"):
                answer = queries.search(connection, word, Filter(), limit=50, cursor="", now=self.now, tracker="")
                matching = [(number, name) for number, name in names if word in name.split()]
                assert answer.total == len(matching)
                assert {found.share for found in answer.results} == {to_text(share(number)) for number, _ in matching}
            assert rows("SELECT count(*) FROM sources") == [(sum(len(known.has) for known in live),)]
            assert rows("SELECT count(*) FROM shares") == [(len({n for known in live for n in known.has}),)]
            assert rows("SELECT live FROM shares ORDER BY id") == rows(
                "SELECT count(*) FROM sources GROUP BY share ORDER BY share"
            )
            assert rows("SELECT backers FROM listings ORDER BY id") == rows(
                "SELECT count(*) FROM sources WHERE listing IS NOT NULL GROUP BY listing ORDER BY listing"
            )
            assert rows("SELECT place FROM listings ORDER BY place") == rows("SELECT rowid FROM words ORDER BY rowid")
            assert rows("SELECT * FROM totals") == rows(
                "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(text), 0), (SELECT count(*) FROM sources) "
                "FROM listings"
            )
            assert rows("SELECT count(*) FROM shares WHERE share IS NOT NULL") == [(len({n for n, _ in names}),)]
            assert rows("SELECT rows = shares FROM peers WHERE NOT rows = shares") == []

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)


TestAnnouncing = Announcing.TestCase
TestAnnouncing.settings = settings(max_examples=40, stateful_step_count=30)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, Limits(shares_per_peer=4, text_per_peer=60, peers_per_address=2, names_per_share=2, rows=9))


def take(store: Store, peer: int, what: Announce, *, host: str = HOST, now: float = 0.0) -> Outcome:
    [outcome] = store.take_in([Said(peer_id(peer), what, host, host)], now)
    return outcome


def taken(outcome: Outcome) -> Taken:
    assert isinstance(outcome, Taken), outcome
    return outcome


def test_a_peer_has_room_for_so_many_shares(store: Store) -> None:
    outcome = taken(take(store, 1, announce(1, reset=True, provide=tuple(provided(n) for n in range(6)))))
    assert outcome.shares == 4
    assert outcome.refused == ("more than 4 shares (2)",)
    outcome = taken(take(store, 1, announce(2, previous=1, drop=(key(0),), provide=(provided(5),))))
    assert (outcome.shares, outcome.refused) == (4, ())


def test_a_peer_has_room_for_so_much_text(store: Store) -> None:
    outcome = taken(take(store, 1, announce(1, reset=True, add=(listing(1, "x" * 40), listing(2, "y" * 40)))))
    assert (outcome.shares, outcome.refused) == (1, ("more than 60 bytes of names (1)",))
    outcome = taken(take(store, 1, announce(2, previous=1, add=(listing(1, "x"), listing(2, "y" * 40)))))
    assert (outcome.shares, outcome.refused) == (2, ())


def test_an_address_has_room_for_so_many_peers(store: Store) -> None:
    for peer in range(2):
        taken(take(store, peer, announce(1, reset=True)))
    assert isinstance(take(store, 2, announce(1, reset=True)), NoRoom)
    taken(take(store, 2, announce(1, reset=True), host="198.51.100.1"))
    taken(take(store, 0, announce(2, previous=1)))
    taken(take(store, 0, announce(3, previous=2, bye=True)))
    taken(take(store, 3, announce(1, reset=True)))


def test_a_share_has_so_many_names(database: Database, store: Store) -> None:
    for peer in range(3):
        outcome = taken(take(store, peer, announce(1, reset=True, add=(listing(1, f"name{peer}"),)), host=str(peer)))
    assert outcome.refused == ("a share that has many names already (1)",)
    assert outcome.shares == 1  # it is still a source
    with database.reading() as connection:
        told = queries.sources(connection, provider_key(share(1)), HOST, 0.0, Random(1))
    assert told.total == 3


def test_the_tracker_has_room_for_so_much(store: Store) -> None:
    for peer in range(2):
        what = announce(1, reset=True, provide=tuple(provided(10 * peer + n) for n in range(4)))
        assert taken(take(store, peer, what)).refused == ()
    outcome = taken(take(store, 2, announce(1, reset=True, provide=(provided(50), provided(51))), host="1"))
    assert outcome.refused == ("more than this tracker has room for (1)",)


def test_starting_over_again_and_again_takes_no_more_room(database: Database) -> None:
    store = Store(database, Limits(shares_per_peer=3))
    refused = 0
    for sequence in range(1, 8):
        fresh = tuple(provided(100 * sequence + n) for n in range(3))
        refused += len(taken(take(store, 1, announce(sequence, reset=True, provide=fresh))).refused)
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM sources").fetchone() == (6,)
    assert refused


def test_what_is_announced_again_after_a_reset_keeps_its_place(database: Database, store: Store) -> None:
    take(store, 1, announce(1, reset=True, add=(listing(1, "first"),)), now=10.0)
    take(store, 1, announce(2, reset=True, add=(listing(1, "first"),)), now=20.0)
    store.sweep(1000.0)
    with database.reading() as connection:
        [found] = queries.search(connection, "first", Filter(), limit=5, cursor="", now=60.0, tracker="").results
    assert (found.age_s, found.sources) == (50, 1)


def test_sequences_outlive_the_peer(store: Store) -> None:
    old = announce(7, reset=True, expires_s=60, add=(listing(1),))
    taken(take(store, 1, old, now=0.0))
    store.expire(100.0)
    store.sweep(100.0)
    assert take(store, 1, old, now=100.0) == Conflict(7)
    assert take(store, 1, announce(8, previous=7), now=100.0) == Conflict(7)
    taken(take(store, 1, announce(8, reset=True), now=100.0))


def test_a_peer_is_forgotten_in_the_end(database: Database, store: Store) -> None:
    taken(take(store, 1, announce(7, reset=True, expires_s=60), now=0.0))
    store.expire(100.0)
    store.forget(100.0)
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM peers").fetchone() == (1,)
    store.forget(8 * 86400.0)
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM peers").fetchone() == (0,)


def test_of_too_many_gone_peers_those_silent_for_longest_are_forgotten(database: Database) -> None:
    store = Store(database, Limits(known_peers=2))
    for peer in range(4):
        taken(take(store, peer, announce(1, reset=True, expires_s=60), now=float(peer)))
    store.expire(100.0)
    store.forget(100.0)
    with database.reading() as connection:
        left = {bytes(peer) for (peer,) in connection.execute("SELECT peer FROM peers")}
    assert left == {peer_id(2), peer_id(3)}


def test_a_reachable_peer_that_moves_is_no_longer_known_to_be(store: Store) -> None:
    assert taken(take(store, 1, announce(1, reset=True, port=7474))).dialable is None
    store.reached(peer_id(1), HOST, 7474, True)
    assert taken(take(store, 1, announce(2, previous=1, port=7474))).dialable is True
    assert taken(take(store, 1, announce(3, previous=2, port=7475))).dialable is None
    store.reached(peer_id(1), HOST, 7474, True)  # the finding came too late
    assert taken(take(store, 1, announce(4, previous=3, port=7475))).dialable is None
    store.reached(peer_id(1), HOST, 7475, True)
    assert taken(take(store, 1, announce(5, previous=4, port=7475), host="198.51.100.1")).dialable is None
    assert taken(take(store, 1, announce(6, previous=5, port=0), host="198.51.100.1")).dialable is False


def test_capacity_is_as_last_said(database: Database, store: Store) -> None:
    offer = Capacity(("wasm", "python"), 8, 1 << 30, load=0.5)

    def volunteers(**asked: Any) -> list[str]:
        usual: dict[str, Any] = {"runtime": None, "cores": 0, "memory": 0, "limit": 9, "cursor": ""}
        with database.reading() as connection:
            answer = queries.volunteers(connection, **usual | asked, asker=HOST, now=1.0)
        return [volunteer.peer for volunteer in answer.volunteers]

    take(store, 1, announce(1, reset=True, capacity=offer))
    take(store, 2, announce(1, reset=True, capacity=Capacity(("wasm",), 5, 1 << 20)))
    one, two = to_text(peer_id(1)), to_text(peer_id(2))
    assert volunteers() == [two, one]  # five idle cores before four
    assert volunteers(runtime="python") == [one]
    assert volunteers(runtime="pyth") == []
    assert volunteers(runtime="%' OR 1 --\t") == []
    assert volunteers(cores=6) == [one]
    assert volunteers(memory=1 << 21) == [one]
    take(store, 2, announce(2, previous=1))
    assert volunteers() == [one]
    store.expire(1e9)
    assert volunteers() == []


def test_a_second_tracker_cannot_have_the_same_database(database: Database, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Another tracker"):
        Database(tmp_path / "tracker.db")


def test_what_was_announced_survives_a_restart(tmp_path: Path) -> None:
    for sequence in (1, 2):
        with Database(tmp_path / "kept.db") as database:
            store = Store(database, Limits())
            taken(take(store, 1, announce(sequence, previous=sequence - 1, reset=sequence == 1, add=(listing(1),))))


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with Database(tmp_path / "newer.db") as database, database.writing() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer Shoal"):
        Database(tmp_path / "newer.db")


def test_no_database_at_all(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and never was one")
    with pytest.raises(StorageError, match="cannot be used"):
        Database(tmp_path / "text.db")


@pytest.fixture
def many(database: Database) -> Database:
    """A hundred listings: ten sources each have the last ten."""
    store = Store(database, Limits())
    for peer in range(10):
        own = tuple(listing(100 * peer + n, f"common word{peer}x{n}", size=n * 100) for n in range(9))
        shared = tuple(listing(5000 + n, f"common shared{n}", f"inner{n}/file.flac") for n in range(10))
        taken(take(store, peer, announce(1, reset=True, add=own + shared)))
    return database


def test_pages_go_through_all_results_once(many: Database) -> None:
    seen: list[str] = []
    cursor = ""
    with many.reading() as connection:
        for _ in range(30):
            answer = queries.search(connection, "common", Filter(), limit=7, cursor=cursor, now=0.0, tracker="")
            assert (answer.total, answer.partial) == (100, False)
            seen += [found.name for found in answer.results]
            cursor = answer.cursor
            if not cursor:
                break
    assert len(seen) == len(set(seen)) == 100
    assert all(name.startswith("common shared") for name in seen[:10])  # what many have comes first


def test_names_that_match_come_before_files_that_do(many: Database) -> None:
    store = Store(many, Limits())
    take(store, 1, announce(2, previous=1, add=(listing(9000, "inner3 lonely"),)))
    with many.reading() as connection:
        answer = queries.search(connection, "inner3", Filter(), limit=9, cursor="", now=0.0, tracker="")
    assert [(found.name, found.matched) for found in answer.results] == [
        ("inner3 lonely", None),
        ("common shared3", "inner3/file.flac"),
    ]


def test_filters_are_exact(many: Database) -> None:
    with many.reading() as connection:
        for low, high in ((0, 0), (100, 100), (150, 450), (101, 10**6), (900, 1000)):
            asked = Filter(min_size=low, max_size=high)
            answer = queries.search(connection, "common", asked, limit=200, cursor="", now=0.0, tracker="")
            expected = sum(low <= n * 100 <= high for n in range(9)) * 10 + 10 * (low <= 1000 <= high)
            assert len(answer.results) == answer.total == expected
            assert all(low <= found.size <= high for found in answer.results)


def test_more_matches_than_can_be_ranked(many: Database, shorten: Shorten) -> None:
    shorten(queries, "MAX_RANKED", 30)
    with many.reading() as connection:
        answer = queries.search(connection, "common", Filter(), limit=20, cursor="", now=0.0, tracker="")
        assert (answer.total, answer.partial) == (30, True)
        assert len(answer.results) == 20
