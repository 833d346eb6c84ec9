"""The lookup: always ends, asks nobody twice, finds the true nearest, and liars hide nobody."""

from collections import Counter
from collections.abc import Collection
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2p.core.dht.lookup import (
    ALPHA,
    MAX_AT_ONCE,
    MAX_CANDIDATES,
    MAX_NAMED_IN_VAIN,
    STALLED_PER_MORE,
    Lookup,
    LookupState,
)
from p2p.core.dht.routing import MAX_PER_PREFIX, Contact, K

OWN = b"\xaa" * 20
TARGET = bytes(20)


def contact(number: int, host: str | None = None) -> Contact:
    """The `number`th nearest to the target, at an address of its own as on the Internet."""
    place = host or f"{11 + number // 65536}.{number // 256 % 256}.{number % 256}.1"
    return Contact(number.to_bytes(20, "big"), place, 7474)


def distance(one: Contact) -> int:
    return one.long_id


class AnyOrder(RuleBasedStateMachine):
    """Answers, stalls, failures and late answers in any order, with names true and false, until nobody is left."""

    @initialize(seeds=st.sets(st.integers(1, 60), max_size=25), k=st.sampled_from([1, 2, 5, 20]))
    def begin(self, seeds: set[int], k: int) -> None:
        self.k = k
        self.lookup = Lookup(TARGET, OWN, [contact(n) for n in seeds], k=k)
        self.offered = {contact(n).key for n in seeds}
        self.out: list[Contact] = []
        self.late: list[Contact] = []
        self.stalled: set[tuple[bytes, str, int]] = set()
        self.asked: Counter[tuple[bytes, str, int]] = Counter()
        self.answered: list[Contact] = []
        self.failed = 0

    @rule()
    def ask(self) -> None:
        chosen = self.lookup.next()
        if chosen is None:
            return
        self.asked[chosen.key] += 1
        assert self.asked[chosen.key] == 1, "nobody is asked twice"
        assert chosen.key in self.offered
        self.out.append(chosen)
        assert len(self.out) <= min(MAX_AT_ONCE, ALPHA + len(self.stalled) // STALLED_PER_MORE)

    @precondition(lambda self: len(self.out) > 0)
    @rule(which=st.integers(0, ALPHA - 1))
    def stall(self, which: int) -> None:
        slow = self.out.pop(which % len(self.out))
        self.lookup.stalled(slow)
        assert self.lookup.state(slow) is LookupState.STALLED
        self.lookup.stalled(slow)  # it is told again when it goes on
        self.stalled.add(slow.key)
        self.late.append(slow)

    @precondition(lambda self: len(self.out + self.late) > 0)
    @rule(
        which=st.integers(0, 20),
        named=st.lists(st.tuples(st.integers(0, 60), st.sampled_from([None, "81.2.69.1", "81.2.69.2"])), max_size=8),
    )
    def answer(self, which: int, named: list[tuple[int, str | None]]) -> None:
        who = self.take(which)
        others = [contact(number, host) for number, host in named] + [Contact(OWN, "8.8.8.8", 1)]
        self.offered |= {one.key for one in others}
        self.lookup.answered(who, others)
        self.answered.append(who)
        assert self.lookup.state(who) is LookupState.ANSWERED

    @precondition(lambda self: len(self.out + self.late) > 0)
    @rule(which=st.integers(0, 20))
    def fail(self, which: int) -> None:
        who = self.take(which)
        self.lookup.failed(who)
        self.failed += 1
        assert self.lookup.state(who) is LookupState.FAILED

    def take(self, which: int) -> Contact:
        under_way = self.out + self.late
        who = under_way[which % len(under_way)]
        (self.out if who in self.out else self.late).remove(who)
        return who

    @invariant()
    def what_it_says_is_true(self) -> None:
        if not hasattr(self, "lookup"):
            return
        near = self.lookup.nearest()
        assert len(near) <= self.k
        assert near == sorted(near, key=distance)
        assert len({one.id for one in near}) == len(near)
        assert {one.key for one in near} <= {one.key for one in self.answered}
        assert OWN not in {one.id for one in near}
        assert max(Counter(one.prefix for one in near).values(), default=0) <= MAX_PER_PREFIX
        assert (self.lookup.asked, self.lookup.failures) == (self.asked.total(), self.failed)

    @invariant()
    def either_somebody_is_asked_or_it_is_done(self) -> None:
        """Else it would wait for ever."""
        if hasattr(self, "lookup") and not self.out and not self.late:
            waiting = [one for one in self.lookup._candidates.values() if one.state is LookupState.WAITING]
            assert self.lookup.done or waiting

    def teardown(self) -> None:
        """Whatever came before: asked until it is done, and that is soon."""
        if not hasattr(self, "lookup"):
            return
        for _ in range(MAX_CANDIDATES * 2):
            while (chosen := self.lookup.next()) is not None:
                self.asked[chosen.key] += 1
                assert self.asked[chosen.key] == 1
                self.out.append(chosen)
            if self.lookup.done:
                break
            assert self.out + self.late, "it is not done, and waits for nobody"
            self.lookup.failed(self.take(0))
        assert self.lookup.done


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=80, stateful_step_count=60)


class Network:
    """Nodes that know a random few of each other and their neighbours, each with what it does when it is asked."""

    def __init__(self, seed: int, count: int, dead: float = 0.0) -> None:
        self.random = Random(seed)
        numbers = self.random.sample(range(1, 2**40), count)
        self.nodes = [contact_at(self.random, number) for number in numbers]
        self.dead = set(self.random.sample([node.id for node in self.nodes], int(count * dead)))
        self.live = [node for node in self.nodes if node.id not in self.dead]
        ordered = sorted(self.nodes, key=distance)
        place = {node.id: index for index, node in enumerate(ordered)}
        self.known = {
            node.id: ordered[max(0, place[node.id] - K) : place[node.id] + K]
            + self.random.sample(self.nodes, min(count, 30))
            for node in self.nodes
        }

    def names(self, node: Contact) -> list[Contact]:
        return sorted({one.id: one for one in self.known[node.id]}.values(), key=distance)[:K]

    def run(self, lookup: Lookup, slow: float = 0.0) -> int:
        """To the end, in a random order; returns after how many events."""
        out: list[Contact] = []
        late: list[Contact] = []
        for step in range(10_000):
            while (chosen := lookup.next()) is not None:
                out.append(chosen)
            if lookup.done:
                return step
            who = self.random.choice(out or late)
            if who in out and (who.id in self.dead or self.random.random() < slow):
                out.remove(who)
                late.append(who)
                lookup.stalled(who)
                continue
            (out if who in out else late).remove(who)
            if who.id in self.dead:
                lookup.failed(who)
            else:
                lookup.answered(who, self.names(who))
        raise AssertionError("it does not end")


def contact_at(random: Random, number: int) -> Contact:
    host = f"{random.randint(11, 99)}.{random.randint(0, 255)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    return Contact(number.to_bytes(20, "big"), host, random.randint(1024, 65535))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 10, 200])
def test_it_finds_the_true_nearest(seed: int, count: int) -> None:
    network = Network(seed, count)
    seeds = network.random.sample(network.nodes, min(3, count))
    lookup = Lookup(TARGET, OWN, seeds)
    network.run(lookup, slow=0.2)
    # Whoever has not answered yet when ten have may be left out: of them nobody waits.
    stalled = [one for one in network.nodes if lookup.state(one) is LookupState.STALLED]
    expected = [one for one in sorted(network.nodes, key=distance) if one not in stalled][:K]
    assert lookup.nearest() == expected
    assert lookup.asked <= count


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_the_true_nearest_of_those_alive(seed: int) -> None:
    network = Network(seed, 200, dead=0.3)
    lookup = Lookup(TARGET, OWN, network.random.sample(network.live, 5))
    network.run(lookup)
    assert lookup.nearest() == sorted(network.live, key=distance)[:K]


def test_without_anybody_it_is_done_at_once() -> None:
    lookup = Lookup(TARGET, OWN, [])
    assert lookup.next() is None
    assert lookup.done
    assert lookup.nearest() == []


def test_only_so_many_are_asked_at_once_and_who_stalls_does_not_count() -> None:
    lookup = Lookup(TARGET, OWN, [contact(n) for n in range(1, 30)])
    asked = [lookup.next() for _ in range(ALPHA)]
    assert None not in asked
    assert lookup.next() is None
    assert asked[0] is not None
    lookup.stalled(asked[0])
    assert lookup.next() is not None
    assert lookup.next() is None
    lookup.answered(asked[0], [])  # late, and taken
    assert lookup.state(asked[0]) is LookupState.ANSWERED
    assert lookup.next() is None, "it gave its place away when it stalled"


def answer(lookup: Lookup, number: int, named: list[Contact]) -> Contact:
    """Asks until it is this one's turn."""
    chosen = lookup.next()
    assert chosen is not None
    assert chosen.long_id == number
    lookup.answered(chosen, named)
    return chosen


def drain(lookup: Lookup, dead: Collection[str] = ()) -> list[int]:
    """Everybody answers without a name but who sits at a dead host; returns who was asked."""
    asked = []
    while (chosen := lookup.next()) is not None:
        asked.append(chosen.long_id)
        if chosen.ip in dead:
            lookup.failed(chosen)
        else:
            lookup.answered(chosen, [])
    assert lookup.done
    return asked


NOWHERE = "45.33.32.156"


def test_naming_a_node_where_it_is_not_hides_nothing() -> None:
    """A liar that answers first names all of the nearest, at an address of nobody."""
    lookup = Lookup(TARGET, OWN, [contact(90), contact(91)])
    answer(lookup, 90, [contact(n, NOWHERE) for n in range(1, K + 1)])
    honest = lookup.next()
    while honest is not None and honest.ip == NOWHERE:
        lookup.failed(honest)
        honest = lookup.next()
    assert honest is not None
    lookup.answered(honest, [contact(n) for n in range(1, K + 1)])
    drain(lookup, {NOWHERE})
    assert [one.long_id for one in lookup.nearest()] == list(range(1, K + 1))
    assert NOWHERE not in {one.ip for one in lookup.nearest()}


def test_who_named_several_in_vain_is_not_believed_about_the_rest() -> None:
    lookup = Lookup(TARGET, OWN, [contact(90)])
    answer(lookup, 90, [contact(n, NOWHERE) for n in range(1, K + 1)] + [Contact(b"\1" * 20, NOWHERE, 1)])
    asked = drain(lookup, {NOWHERE})
    assert len(asked) <= MAX_NAMED_IN_VAIN + MAX_PER_PREFIX


def test_what_a_liar_named_and_others_too_is_still_asked() -> None:
    dead = [contact(n, f"45.{n}.0.1") for n in range(1, 1 + MAX_NAMED_IN_VAIN)]
    nodes = [contact(n) for n in range(10, 10 + K)]
    lookup = Lookup(TARGET, OWN, [contact(2**100 + n) for n in range(2)])
    liar, honest = lookup.next(), lookup.next()
    assert liar is not None
    assert honest is not None
    lookup.answered(liar, dead + nodes)
    lookup.answered(honest, nodes)
    drain(lookup, {one.ip for one in dead})
    assert lookup.nearest() == nodes


def test_what_was_dropped_comes_back_when_somebody_else_names_it() -> None:
    lookup = Lookup(TARGET, OWN, [contact(2**100), contact(2**100 + 1)])
    liar, honest = lookup.next(), lookup.next()
    assert liar is not None
    assert honest is not None
    dead = [contact(n, f"45.{n}.0.1") for n in range(1, MAX_NAMED_IN_VAIN + 1)]
    lookup.answered(liar, [*dead, contact(50)])
    for _ in dead:
        chosen = lookup.next()
        assert chosen is not None
        lookup.failed(chosen)
    assert lookup.state(contact(50)) is None
    lookup.answered(honest, [contact(50)])
    assert drain(lookup) == [50]


def test_one_that_is_there_speaks_for_who_named_it() -> None:
    """Honest nodes name many that have gone: that alone is no reason to drop what they say."""
    lookup = Lookup(TARGET, OWN, [contact(2**100)])
    dead = [contact(n, f"45.{n}.0.1") for n in range(2, 9)]
    answer(lookup, 2**100, [contact(1), *dead, contact(50)])
    assert 50 in drain(lookup, {one.ip for one in dead})


def test_a_prefix_does_not_fill_the_result_nor_hide_its_neighbours() -> None:
    crowd = [contact(n, f"81.2.69.{n}") for n in range(1, 40)]
    lookup = Lookup(TARGET, OWN, [*crowd, *(contact(n) for n in range(100, 110))])
    drain(lookup)
    assert [one.long_id for one in lookup.nearest()] == [1, 2, *range(100, 110)]
    # Two of that prefix that are nobody take no place from a third that is.
    lookup = Lookup(TARGET, OWN, crowd)
    drain(lookup, {"81.2.69.1", "81.2.69.2"})
    assert [one.long_id for one in lookup.nearest()] == [3, 4]


@pytest.mark.parametrize("exempt", [True, False])
def test_prefixes_of_private_networks_count_only_where_that_is_asked_for(exempt: bool) -> None:
    lookup = Lookup(TARGET, OWN, [contact(n, f"127.0.0.{n}") for n in range(1, 31)], local_exempt=exempt)
    drain(lookup)
    assert len(lookup.nearest()) == (K if exempt else MAX_PER_PREFIX)


def test_candidates_are_bounded() -> None:
    lookup = Lookup(TARGET, OWN, [contact(2**100 + n) for n in range(K)])
    number = 10**6
    for _ in range(5 * MAX_CANDIDATES):
        chosen = lookup.next()
        if chosen is None:
            break
        number -= K
        lookup.answered(chosen, [contact(number + n) for n in range(K)])
    assert lookup.done
    assert lookup.asked <= MAX_CANDIDATES


def test_nobody_waits_for_who_stalls_when_enough_have_answered() -> None:
    few, many = K // 2 - 1, K // 2
    for count, done in ((few, False), (many, True)):
        lookup = Lookup(TARGET, OWN, [contact(n) for n in range(1, count + 2)])
        slow = lookup.next()
        assert slow is not None
        lookup.stalled(slow)
        while (chosen := lookup.next()) is not None:
            lookup.answered(chosen, [])
        assert lookup.done is done
        lookup.answered(slow, [])
        assert lookup.done
        assert lookup.nearest()[0] is slow


def test_hops_are_counted_along_who_named_whom() -> None:
    lookup = Lookup(TARGET, OWN, [contact(50)])
    answer(lookup, 50, [contact(40)])
    answer(lookup, 40, [contact(30)])
    answer(lookup, 30, [contact(20), contact(50)])
    answer(lookup, 20, [])
    assert lookup.hops == 4


def test_the_more_stall_the_more_are_asked_at_once() -> None:
    lookup = Lookup(TARGET, OWN, [contact(n) for n in range(1, 200)])
    at_once = []
    for _ in range(12):
        asked = []
        while (chosen := lookup.next()) is not None:
            asked.append(chosen)
        at_once.append(len(asked))
        for one in asked:
            lookup.stalled(one)
    assert at_once[0] == ALPHA
    assert max(at_once) == MAX_AT_ONCE


def test_two_that_name_the_same_nodes_in_vain_are_both_at_fault() -> None:
    """Liars of one mind do not vouch for each other."""
    lookup = Lookup(TARGET, OWN, [contact(2**100), contact(2**100 + 1)])
    nobody = [contact(n, f"45.{n}.0.1") for n in range(2, 20)]
    liars = [lookup.next(), lookup.next()]
    for liar in liars:
        assert liar is not None
        lookup.answered(liar, nobody)
    assert len(drain(lookup, {one.ip for one in nobody})) == MAX_NAMED_IN_VAIN
