"""What the DHT remembers over a restart, and how much."""

from p2p.store.database import Database
from p2p.store.dht_state import KEPT_S, MAX_CONTACTS, OverlayState, Publication


def test_the_work_of_a_node_id_is_done_once_for_each_network_and_work(database: Database) -> None:
    state = OverlayState(database, "main")
    assert state.nonce(16) is None
    state.keep_nonce(16, b"12345678")
    assert OverlayState(database, "main").nonce(16) == b"12345678"
    assert OverlayState(database, "main").nonce(20) is None
    assert OverlayState(database, "other").nonce(16) is None


def test_contacts_are_replaced_and_bounded(database: Database) -> None:
    state = OverlayState(database, "main")
    state.keep_contacts([("127.0.0.1", port) for port in range(1, 1000)])
    assert len(state.contacts()) == MAX_CONTACTS
    state.keep_contacts([("::1", 7474), ("192.0.2.1", 1), ("::1", 7474)])
    assert sorted(state.contacts()) == [("192.0.2.1", 1), ("::1", 7474)]
    assert OverlayState(database, "other").contacts() == []


def test_publications_are_known_and_forgotten_when_they_are_long_over(database: Database) -> None:
    state = OverlayState(database, "main")
    old, new = Publication(1, b"old", 1000.0), Publication(2, b"new", 1001.0 + KEPT_S)
    state.published(b"a" * 20, old)
    assert state.publications() == {b"a" * 20: old}
    state.published(b"b" * 20, new)
    assert state.publications() == {b"b" * 20: new}
    state.published(b"b" * 20, new._replace(sequence=3))
    assert state.publications()[b"b" * 20].sequence == 3
