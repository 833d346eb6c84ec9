"""Who keeps a place, whatever comes in whatever order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.places import TRIED_S, Places, networks_of

MOST, TRIED, PERIOD_S = 8, 3, 10.0
HONEST = "203.0.113.7"


def places() -> Places[str]:
    return Places(MOST, TRIED, PERIOD_S)


def filled(held: Places[str], network: int, count: int, now: float, prefix: str = "a") -> list[str]:
    """Has this many of one network ask for a place, all at once."""
    keys = [f"{prefix}{number}" for number in range(count)]
    for number, key in enumerate(keys):
        held.enter(key, f"10.{network}.0.{number}", now)
    return keys


def test_free_places_are_given() -> None:
    held = places()
    assert [held.enter(str(number), "10.0.0.1", 0.0).admitted for number in range(MOST)] == [True] * MOST
    assert len(held) == MOST


@pytest.mark.parametrize("identities", [MOST, 64])
def test_idle_identities_of_one_network_keep_nobody_out(identities: int) -> None:
    held = places()
    filled(held, 1, identities, 0.0)
    entry = held.enter("honest", HONEST, 0.0)
    assert entry.admitted
    assert entry.displaced is not None
    filled(held, 1, identities, 1.0, "b")
    assert "honest" in held
    held.useful("honest", 100, 2.0)
    filled(held, 1, identities, PERIOD_S + 1, "c")
    held.useful("honest", 100, PERIOD_S + 2)
    for network in range(64):
        held.enter(f"late{network}", f"10.{network}.0.1", PERIOD_S + 3 + network * 0.1)
    assert "honest" in held


def test_useful_holders_of_a_crowded_network_keep_their_places() -> None:
    held = places()
    honest = [f"honest{number}" for number in range(MOST - TRIED)]
    for number, key in enumerate(honest):
        held.enter(key, f"203.0.113.{number}", 0.0)
    for second in range(40):
        for key in honest:
            held.useful(key, 10, float(second))
        for network in range(64):
            held.enter(f"flood{second}.{network}", f"10.{network}.0.1", float(second))
    assert all(key in held for key in honest)


def test_whoever_does_more_on_trial_changes_places_with_who_does_least() -> None:
    held = places()
    regular = filled(held, 1, MOST - TRIED, 0.0)
    for number, key in enumerate(regular):
        held.useful(key, 10 + number, PERIOD_S + 1)
    held.enter("new", HONEST, PERIOD_S + 1)
    held.useful("new", 9, PERIOD_S + 2)
    on_trial = filled(held, 2, TRIED, PERIOD_S + 2, "b")
    assert "new" in held
    held.useful("new", 9, PERIOD_S + 3)
    assert len(held) == MOST
    for network in range(3, 60):
        held.enter(f"late{network}", f"10.{network}.0.1", PERIOD_S + 3 + TRIED_S * network)
        for key in ("new", *regular[1:]):
            held.useful(key, 1, PERIOD_S + 3 + TRIED_S * network)
    assert "new" in held
    assert all(key in held for key in regular[1:])
    assert not any(key in held for key in (regular[0], *on_trial))


def test_of_those_on_trial_each_network_has_its_share_and_the_longest_there_goes_first() -> None:
    held = places()
    for key in filled(held, 9, MOST - TRIED, 0.0):
        held.useful(key, 1, 0.0)
    on_trial = filled(held, 1, TRIED, 0.0, "b")
    assert held.enter("other", "10.2.0.1", 0.0).displaced == on_trial[0]
    assert held.enter("c", "10.1.0.9", 0.0).displaced == on_trial[1]
    assert held.enter("third", "10.3.0.1", 0.0).displaced == on_trial[2]
    assert not held.enter("fourth", "10.4.0.1", TRIED_S / 2).admitted
    assert held.enter("fourth", "10.4.0.1", TRIED_S).displaced in {"other", "c", "third"}


def test_who_is_useful_on_trial_is_not_displaced_by_the_next_to_come() -> None:
    """Otherwise more useful sources than places would take each other's for ever."""
    held = places()
    sources = [f"source{number}" for number in range(MOST)]
    for number, key in enumerate(sources):
        held.enter(key, f"10.{number}.0.1", 0.0)
        held.useful(key, 5, 0.0)
    for number in range(20):
        assert not held.enter(f"more{number}", f"10.{MOST + number}.0.1", 1.0).admitted
        assert not held.enter(f"own{number}", "10.7.0.1", 1.0).admitted
    assert all(key in held for key in sources)
    assert held.enter("later", "10.99.0.1", PERIOD_S).displaced in sources[MOST - TRIED :]


def test_networks_nest() -> None:
    assert networks_of("10.1.2.3") == networks_of("10.1.2.4")
    assert networks_of("10.1.2.3")[0] == networks_of("10.1.3.3")[0]
    assert networks_of("10.1.2.3")[1] != networks_of("10.1.3.3")[1]
    assert networks_of("2001:db8:1:2::1")[1] == networks_of("2001:db8:1:2::2")[1]
    assert networks_of("2001:db8:1:2::1")[0] == networks_of("2001:db8:9:2::1")[0]
    assert networks_of("2001:db8:1:2::1")[1] != networks_of("2001:db8:1:3::1")[1]
    assert networks_of("peer.example") == ("peer.example", "peer.example")


class AnyOrder(RuleBasedStateMachine):
    """Those that do most keep their places, whoever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.held = places()
        self.now = 0.0
        self.number = 0
        self.done: dict[str, list[tuple[float, float]]] = {}
        self.since: dict[str, float] = {}

    def lately(self, key: str) -> float:
        """What it did in the running period and the one before."""
        first = (int(self.now // PERIOD_S) - 1) * PERIOD_S
        return sum(amount for at, amount in self.done[key] if at >= first)

    def gone(self, key: str | None) -> None:
        if key is not None:
            assert key not in self.held
            self.since.pop(key)

    @rule(network=st.integers(0, 3), host=st.integers(0, 2))
    def enter(self, network: int, host: int) -> None:
        key = str(self.number)
        self.number += 1
        full = len(self.held) == MOST
        entry = self.held.enter(key, f"10.{network}.{host}.1", self.now)
        assert entry.admitted == (key in self.held)
        assert (entry.displaced is None) or entry.admitted
        assert entry.admitted or full
        if entry.displaced is not None:
            assert entry.displaced not in self.safe
            self.gone(entry.displaced)
        if entry.admitted:
            self.since[key], self.done[key] = self.now, []

    @precondition(lambda self: self.since)
    @rule(data=st.data(), amount=st.sampled_from([1.0, 5.0, 50.0]))
    def useful(self, data: st.DataObject, amount: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.since)))
        self.done[key].append((self.now, amount))
        self.held.useful(key, amount, self.now)

    @precondition(lambda self: self.since)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.since)))
        self.held.leave(key)
        self.gone(key)

    @rule(seconds=st.sampled_from([0.1, TRIED_S, 3.0, PERIOD_S, 3 * PERIOD_S]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def bounded(self) -> None:
        assert len(self.held) <= MOST
        assert all(key in self.held for key in self.since)
        # So many are safe from any newcomer: those that did most lately.
        best = sorted((self.lately(key) for key in self.since), reverse=True)[: MOST - TRIED]
        self.safe = {key for key in self.since if self.lately(key) > (best[-1] if len(best) == MOST - TRIED else 0)}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=60)
