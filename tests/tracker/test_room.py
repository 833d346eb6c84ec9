"""Who has room in a tracker's index: identities of a few networks take no more than their share."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.ids import PeerId
from p2p.wire.tracker import Announce, provider_key
from tests.support.announces import NETWORK, URL, listing, peer_id, provided, share
from tracker.changes import Conflict, NoRoom, Outcome, Said, Taken
from tracker.database import Database
from tracker.limits import Limits
from tracker.room import Room
from tracker.store import Store

PEERS, SHARES = 16, 7
LIMITS = Limits(peers=PEERS, rows=PEERS * 8, text=PEERS * 80, peers_per_address=8, shares_per_peer=20)
"""A block is for seven shares, with 70 bytes of names."""
HONEST = [f"203.0.{number}.7" for number in range(4)]


def take(store: Store, peer: int, host: str, sequence: int = 1, *, first: int | None = None, count: int = 1) -> Outcome:
    """The peer announces that it is back, with so many shares."""
    start = 100 * peer if first is None else first
    provide = tuple(provided(start + number) for number in range(count))
    announce = Announce(URL, NETWORK, sequence, reset=True, provide=provide)
    [outcome] = store.take_in([Said(peer_id(peer), announce, host, host)], 0.0)
    return outcome


def told(database: Database, number: int) -> int:
    with database.reading() as connection:
        sql = (
            "SELECT count(*) FROM sources JOIN shares ON shares.id = sources.share "
            "JOIN peers ON peers.id = sources.peer "
            "WHERE key = ? AND sources.generation = peers.generation AND expires > 0"
        )
        (count,) = connection.execute(sql, (provider_key(share(number)),)).fetchone()
        return int(count)


@pytest.mark.parametrize("count", [1, 20])
def test_identities_of_one_network_leave_room_for_others(database: Database, count: int) -> None:
    """800 addresses filled the tracker with peers, and two of them with shares: others were refused until they left."""
    store = Store(database, LIMITS)
    for number in range(2 * PEERS):
        take(store, number, f"9.9.9.{number % 4}", count=count)
    for number, host in enumerate(HONEST):
        outcome = take(store, 1000 + number, host, count=2)
        assert isinstance(outcome, Taken)
        assert outcome.refused == ()
    while store.sweep(100.0):
        pass
    for number in range(PEERS):
        take(store, 200 + number, f"9.9.{number % 4}.1", count=count)
    assert [told(database, 100 * (1000 + number)) for number in range(4)] == [1] * 4


def test_a_displaced_peer_announces_everything_again(database: Database) -> None:
    store = Store(database, LIMITS)
    for number in range(PEERS):
        assert isinstance(take(store, number, f"9.9.9.{number // 8}"), Taken)
    take(store, 1000, HONEST[0])
    gone = [number for number in range(PEERS) if not told(database, 100 * number)]
    assert len(gone) == 1
    announce = Announce(URL, NETWORK, 2, previous=1)
    [outcome] = store.take_in([Said(peer_id(gone[0]), announce, "9.9.9.1", "9.9.9.1")], 0.0)
    assert outcome == Conflict(1)
    assert isinstance(take(store, gone[0], "9.9.9.1", 2), NoRoom)
    assert isinstance(take(store, gone[0], HONEST[1], 2), Taken)


def test_a_peer_that_drops_shares_or_leaves_makes_room(database: Database) -> None:
    store = Store(database, LIMITS)
    for number in range(5):
        taken = take(store, number, "9.9.9.1", count=20)
        assert isinstance(taken, Taken)
        assert taken.refused == ()
    assert isinstance(take(store, 9, "9.9.9.1", count=20), Taken)  # one block is left
    assert isinstance(take(store, 10, "9.9.9.1"), NoRoom)
    assert isinstance(take(store, 0, "9.9.9.1", 2), Taken)
    assert isinstance(take(store, 10, "9.9.9.1"), NoRoom), "what it had is still in the database"
    store.sweep(100.0)
    assert isinstance(take(store, 10, "9.9.9.1"), Taken)
    [bye] = store.take_in(
        [Said(peer_id(1), Announce(URL, NETWORK, 2, previous=1, bye=True), "9.9.9.1", "9.9.9.1")], 0.0
    )
    assert isinstance(bye, Taken)
    assert isinstance(take(store, 11, "9.9.9.1", count=20), Taken)
    store.expire(1e9)
    assert store._room is not None
    assert store._room._blocks == {}


def test_names_need_room_too(database: Database) -> None:
    store = Store(database, LIMITS)
    add = tuple(listing(number, "x" * 69) for number in range(PEERS + 1))
    announce = Announce(URL, NETWORK, 1, reset=True, add=add)
    [outcome] = store.take_in([Said(peer_id(1), announce, "9.9.9.1", "9.9.9.1")], 0.0)
    assert isinstance(outcome, Taken)
    assert outcome.refused == ("more than this tracker has room for (1)",)


def test_room_is_known_after_a_restart_and_after_an_error(database: Database) -> None:
    store = Store(database, LIMITS)
    for number in range(PEERS):
        take(store, number, f"9.9.9.{number // 8}")
    announce = Announce(URL, NETWORK, 1, reset=True, add=(listing(1, size=2**70),))
    with pytest.raises(OverflowError):
        store.take_in([Said(peer_id(1000), announce, HONEST[0], HONEST[0])], 0.0)
    assert [told(database, 100 * number) for number in range(PEERS)] == [1] * PEERS
    for again in (store, Store(database, LIMITS)):
        assert isinstance(take(again, 500, "9.9.9.1"), NoRoom)
    assert isinstance(take(Store(database, LIMITS), 1000, HONEST[0]), Taken)


class AnyOrder(RuleBasedStateMachine):
    """Each peer has what it needs, and the network that has most makes room."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(LIMITS)
        self.there: dict[PeerId, tuple[int, int]] = {}
        """The network of each peer, and its blocks."""
        self.number = 0

    def held(self) -> Counter[int]:
        of_networks: Counter[int] = Counter()
        for network, blocks in self.there.values():
            of_networks[network] += blocks
        return of_networks

    @rule(network=st.integers(0, 5), shares=st.integers(0, 40), grown=st.booleans(), data=st.data())
    def grow(self, network: int, shares: int, grown: bool, data: st.DataObject) -> None:
        self.number += 1
        peer = peer_id(self.number)
        if grown and self.there:
            peer = data.draw(st.sampled_from(sorted(self.there)))
            network = self.there[peer][0]
        before, held = self.there.get(peer, (0, 0))[1], self.held()
        has_room, displaced = self.room.grow(peer, f"10.{network}.1.1", shares, 0)
        for other in displaced:
            assert self.there.pop(other)[0] != network
        blocks = self.room._blocks.get(peer, 0)
        needed = max(1, -(-shares // SHARES))
        assert blocks == max(before, needed) if has_room else before <= blocks < needed
        assert has_room or held.total() + blocks - before >= PEERS or displaced
        if blocks:
            self.there[peer] = network, blocks

    @precondition(lambda self: self.there)
    @rule(data=st.data(), shares=st.integers(0, 20))
    def shrink(self, data: st.DataObject, shares: int) -> None:
        peer = data.draw(st.sampled_from(sorted(self.there)))
        network, blocks = self.there[peer]
        self.room.shrink(peer, shares, 0)
        self.there[peer] = network, min(blocks, max(1, -(-shares // SHARES)))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from(sorted(self.there)))
        self.room.leave(peer)
        del self.there[peer]

    @invariant()
    def counted(self) -> None:
        assert self.room._blocks == {peer: blocks for peer, (_, blocks) in self.there.items()}
        assert len(self.room._seats) == self.held().total() <= PEERS


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, stateful_step_count=30)
