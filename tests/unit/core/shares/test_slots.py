"""Upload slots: never more than there are, and shared out by network, then by identity."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.core.shares.slots import SlotQueue


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


def test_slots_are_granted_until_there_are_none() -> None:
    slots: SlotQueue[str] = SlotQueue(2, 10)
    assert slots.ask("a", "net", b"a", 0)
    assert slots.ask("b", "net", b"b", 0)
    assert not slots.ask("c", "net", b"c", 0)
    assert slots.ask("a", "net", b"a", 0)
    assert slots.waiting() == ["c"]
    assert slots.leave("a", 1) == ["c"]
    assert slots.waiting() == []


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
        self.now = 0.0

    @rule(prefix=st.integers(0, 2), identity=st.integers(0, 2), number=st.integers(0, 2))
    def ask(self, prefix: int, identity: int, number: int) -> None:
        key = Connection(f"{prefix}", bytes([prefix, identity]), number)
        if self.slots.ask(key, key.prefix, key.identity, self.now):
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
        expected = [waiting for waiting in self.slots.waiting() if waiting != key]
        granted = self.slots.leave(key, self.now)
        assert granted == (expected[:1] if key in self.granted else [])
        self.granted.discard(key)
        self.waiting.discard(key)
        self.granted |= set(granted)
        self.waiting -= set(granted)

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
