"""Upload slots: never more than there are, and shared out by network, then by identity."""

from collections import Counter
from dataclasses import dataclass
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.core.shares import slots as slots_module
from p2p.core.shares.slots import LEAST_TURN_S, MAX_QUANTA, SlotQueue
from tests.support.constants import Shorten


def asks(slots: SlotQueue[str], prefix: str, identity: str, name: str) -> str | None:
    """A connection asks; its name, or None where it waits."""
    key = f"{prefix} {identity} {name}"
    return key if slots.ask(key, prefix, identity.encode(), 0) else None


def served(slots: SlotQueue[str], holder: str, count: int) -> list[str]:
    """Who is served next, each leaving at once."""
    order = []
    for _ in range(count):
        (holder,) = slots.leave(holder, 0)
        order.append(holder)
    return order


def test_more_slots_are_granted_at_once_and_fewer_when_turns_end() -> None:
    slots: SlotQueue[str] = SlotQueue(1, 10)
    for name in "abcd":
        slots.ask(name, "net", name.encode(), 0)
    assert slots.resize(3, 3, 1) == ["b", "c"]
    assert slots.resize(1, 1, 2) == []
    assert slots.leave("a", 3) == []
    assert slots.leave("b", 4) == []
    assert slots.leave("c", 5) == ["d"]


def test_slots_are_granted_until_there_are_none() -> None:
    slots: SlotQueue[str] = SlotQueue(2, 10)
    assert slots.ask("a", "net", b"a", 0)
    assert slots.ask("b", "net", b"b", 0)
    assert not slots.ask("c", "net", b"c", 0)
    assert slots.ask("a", "net", b"a", 0)
    assert slots.waiting() == ["c"]
    assert slots.leave("a", 1) == ["c"]
    assert slots.waiting() == []


def test_when_a_slot_can_be_claimed_is_known() -> None:
    """Who waited looked twice a second; holders that had come at the same moment were then always too new."""
    slots: SlotQueue[str] = SlotQueue(2, 10)
    for holder in ("a", "b"):
        assert slots.ask(holder, "crowd", holder.encode(), 0)
    assert not slots.ask("c", "lone", b"c", 0)
    assert slots.claim_in("c", 0) == LEAST_TURN_S
    assert not slots.claim("c", 0)
    assert slots.claim("c", LEAST_TURN_S)
    assert not slots.ask("d", "crowd", b"d", 1)
    assert slots.claim_in("d", 1) == inf
    assert slots.claim_in("c", 1) == inf


def test_many_addresses_in_one_network_count_once() -> None:
    slots: SlotQueue[str] = SlotQueue(1, 10)
    holder = asks(slots, "x", "x", "x")
    assert holder
    for n in range(5):
        asks(slots, "crowd", f"{n}", "c")
    asks(slots, "lone", "l", "c")
    expected = ["crowd 0 c", "lone l c", "crowd 1 c", "crowd 2 c", "crowd 3 c", "crowd 4 c"]
    assert slots.waiting() == expected
    assert served(slots, holder, 6) == expected


def test_many_connections_of_one_identity_count_once() -> None:
    slots: SlotQueue[str] = SlotQueue(1, 10)
    holder = asks(slots, "x", "x", "x")
    assert holder
    for n in range(3):
        asks(slots, "net", "greedy", f"{n}")
    asks(slots, "net", "modest", "0")
    expected = ["net greedy 0", "net modest 0", "net greedy 1", "net greedy 2"]
    assert slots.waiting() == expected
    assert served(slots, holder, 4) == expected


def test_a_slot_is_given_up_after_its_quantum_if_somebody_waits() -> None:
    slots: SlotQueue[str] = SlotQueue(1, 10)
    slots.ask("a", "p", b"a", 0)
    assert not slots.must_yield("a", 100)
    slots.ask("b", "q", b"b", 100)
    assert not slots.must_yield("a", 9)
    assert slots.must_yield("a", 10)
    assert slots.leave("a", 100) == ["b"]
    assert not slots.ask("a", "p", b"a", 100)
    assert not slots.must_yield("b", 109)
    assert slots.must_yield("b", 110)


def test_who_no_longer_waits_is_forgotten() -> None:
    slots: SlotQueue[str] = SlotQueue(1, 10)
    slots.ask("a", "p", b"a", 0)
    slots.ask("b", "q", b"b", 0)
    assert slots.leave("b", 0) == []
    assert slots.waiting() == []
    assert slots.leave("b", 0) == []
    assert slots.leave("a", 0) == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12))
def test_nobody_in_a_network_of_his_own_waits_for_a_crowd(crowd: list[tuple[int, int]]) -> None:
    """However many came before, whoever is alone in his network is served within one turn of the networks."""
    slots: SlotQueue[str] = SlotQueue(1, 10)
    holder = asks(slots, "x", "x", "x")
    assert holder
    for n, (prefix, identity) in enumerate(crowd):
        asks(slots, f"{prefix}", f"{prefix}.{identity}", f"{n}")
    asks(slots, "lone", "lone", "0")
    networks = {prefix for prefix, _ in crowd}
    assert slots.waiting().index("lone lone 0") == len(networks)


def test_slow_readers_of_one_network_give_a_slot_to_a_newcomer_within_their_chunks() -> None:
    """Sixteen that read little kept all others waiting, since slots changed hands between chunks only."""
    slots: SlotQueue[str] = SlotQueue(4, 10)
    for number in range(6):
        slots.ask(f"slow{number}", "10.1.0.1", bytes([number]), 0)
    assert not slots.ask("honest", "203.0.113.7", b"honest", 0)
    assert not slots.claim("honest", LEAST_TURN_S / 2)
    assert slots.claim("honest", LEAST_TURN_S)
    assert slots.must_yield("slow0", LEAST_TURN_S, within_chunk=True)
    assert slots.leave("slow0", LEAST_TURN_S) == []
    slots.ask("slow0", "10.1.0.1", bytes([0]), LEAST_TURN_S)
    # The honest one keeps its slot, as the others have no fewer.
    assert not slots.must_yield("honest", 1000)
    assert not slots.claim("slow4", 2)
    assert slots.leave("honest", 1000) == ["slow4"]


def test_among_equals_a_slow_reader_loses_its_slot_after_its_turn() -> None:
    slots: SlotQueue[str] = SlotQueue(2, 10)
    slots.ask("slow", "10.1.0.1", b"slow", 0)
    slots.ask("quick", "10.2.0.1", b"quick", 0)
    slots.ask("next", "10.3.0.1", b"next", 0)
    slots.ask("last", "10.4.0.1", b"last", 0)
    slots.took("slow", 300_000)
    slots.took("quick", 9_000_000)
    assert not slots.claim("next", 9.9)
    assert not slots.must_yield("slow", 9.9, within_chunk=True)
    assert slots.must_yield("slow", 10, within_chunk=True)
    assert not slots.must_yield("quick", 10, within_chunk=True)
    assert not slots.claim("last", 10), "it is not its turn"
    assert slots.claim("next", 10)
    assert slots.must_yield("slow", 0), "it is lost"
    assert not slots.claim("last", 10)
    assert slots.claim("last", 10 * MAX_QUANTA)
    assert slots.must_yield("quick", 0), "it is lost"


def test_those_that_lost_their_slots_may_read_on_while_networks_share_the_room_for_that(shorten: Shorten) -> None:
    """Each holds the frame that was on its way: whoever takes slots in turn, and reads nothing, fills the memory."""
    shorten(slots_module, "MAX_UNREAD", 4)
    slots: SlotQueue[str] = SlotQueue(1, 10)
    slots.ask("lone", "203.0.113.7", b"lone", 0)
    now = 0.0
    for number in range(8):
        slots.ask(f"crowd{number}", f"10.1.0.{number}", bytes([number]), now)
        now += 10 * MAX_QUANTA
        assert slots.claim(f"crowd{number}", now)
    assert slots.to_end() == ["crowd3", "crowd4", "crowd5", "crowd6"]
    assert slots.to_end() == []
    slots.ask("other", "192.0.2.1", b"other", now)
    now += 10 * MAX_QUANTA
    assert slots.claim("other", now)
    assert slots.to_end() == ["crowd7"], "it has come last"
    slots.ask("next", "198.51.100.1", b"next", now)
    now += 10 * MAX_QUANTA
    assert slots.claim("next", now)
    assert slots.to_end() == ["crowd2"], "one of the network that has most makes room"
    slots.leave("crowd0", now)
    slots.ask("last", "198.18.0.1", b"last", now)
    now += 10 * MAX_QUANTA
    assert slots.claim("last", now)
    assert slots.to_end() == [], "one has read what it got"


@dataclass(frozen=True)
class Connection:
    prefix: str
    identity: bytes
    number: int


class Traffic(RuleBasedStateMachine):
    """Connections that come, go and give up, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: SlotQueue[Connection] = SlotQueue(3, 10)
        self.granted: set[Connection] = set()
        self.waiting: set[Connection] = set()
        self.now = self.rested = 0.0

    @rule(prefix=st.integers(0, 2), identity=st.integers(0, 2), number=st.integers(0, 2))
    def ask(self, prefix: int, identity: int, number: int) -> None:
        key = Connection(f"{prefix}", bytes([prefix, identity]), number)
        if self.slots.ask(key, key.prefix, key.identity, self.now):
            self.rested = self.now if key not in self.granted else self.rested
            self.granted.add(key)
            self.waiting.discard(key)
        else:
            assert len(self.granted) == 3
            self.waiting.add(key)

    @precondition(lambda self: self.granted or self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        everybody = sorted(self.granted | self.waiting, key=lambda key: (key.identity, key.number))
        key = data.draw(st.sampled_from(everybody))
        order = [waiting for waiting in self.slots.waiting() if waiting != key]
        granted = self.slots.leave(key, self.now)
        held = Counter(other.prefix for other in self.granted if other != key)
        expected = sorted(order, key=lambda other: held[other.prefix])
        assert granted == (expected[:1] if key in self.granted else [])
        self.granted.discard(key)
        self.waiting.discard(key)
        self.rested = self.now if granted else self.rested
        self.granted |= set(granted)
        self.waiting -= set(granted)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        """Whoever has fewer slots in its network gets one of the network that has most, after a second."""
        key = data.draw(st.sampled_from(sorted(self.waiting, key=lambda key: (key.identity, key.number))))
        held = Counter(other.prefix for other in self.granted)
        most = max(held[other] + (other == key.prefix) for other in held)
        claimed = self.slots.claim(key, self.now)
        lost = [other for other in self.granted if self.slots.must_yield(other, 0)]
        assert len(lost) == claimed
        if most > held[key.prefix] + 1:
            assert claimed or self.now < self.rested + LEAST_TURN_S
            assert all(held[other.prefix] == most for other in lost)
        for other in lost:
            self.granted.remove(other)
            self.granted.add(key)
            self.waiting.remove(key)
            self.rested = self.now

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def slots_are_neither_too_many_nor_idle(self) -> None:
        assert len(self.granted) <= 3
        assert len(self.granted) == 3 or not self.waiting
        order = self.slots.waiting()
        assert len(order) == len(set(order))
        assert set(order) == self.waiting
        if not self.waiting:
            assert not any(self.slots.must_yield(key, self.now + 1000) for key in self.granted)


TestTraffic = Traffic.TestCase
