"""Who keeps a place, whatever comes in whatever order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.places import TRIED_S, Places, Seats, networks_of

MOST, TRIED, PERIOD_S = 8, 3, 10.0
HONEST = "203.0.113.7"


def places() -> Places[str]:
    return Places("sources of a fetch", MOST, TRIED, PERIOD_S)


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
    assert not held.enter("c", "10.1.0.9", 0.0).admitted
    assert held.enter("third", "10.3.0.1", 0.0).displaced == on_trial[1]
    assert not held.enter("fourth", "10.4.0.1", TRIED_S / 2).admitted
    assert held.enter("fourth", "10.4.0.1", TRIED_S).displaced in {"other", on_trial[2], "third"}


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


def test_one_that_has_just_come_protects_nobody_behind_it() -> None:
    """A crowd was of a little use on trial, and another network came again and again: nobody else got in."""
    held = places()
    crowd = filled(held, 1, MOST, 0.0)
    for key in crowd:
        held.useful(key, 1, 0.5)
    assert held.enter("churner", "10.2.0.1", 1.0).admitted
    assert held.enter("honest", HONEST, 1.1).admitted
    assert "churner" in held


def test_whoever_is_of_an_uncrowded_network_has_a_period_to_be_of_use() -> None:
    """Newcomers of a crowded network cut it off after half a second."""
    held = places()
    for key in filled(held, 1, MOST, 0.0):
        held.useful(key, 1, 0.5)
    assert held.enter("honest", HONEST, 1.0).admitted
    filled(held, 1, 64, PERIOD_S + 0.9, "b")
    assert "honest" in held
    filled(held, 1, 64, 2 * PERIOD_S + 1, "c")
    assert "honest" not in held


def test_whoever_is_of_a_little_use_on_trial_is_not_cut_off_at_once() -> None:
    """A chunk that comes slowly counts for very little until it is whole: enough to stay, not to displace others."""
    held = places()
    regular = filled(held, 9, MOST - TRIED, 0.0)
    for key in regular:
        held.useful(key, 100, 1.0)
    for number in range(TRIED):
        held.enter(f"slow{number}", f"10.{number}.0.1", 1.0)
        held.useful(f"slow{number}", 1e-6, 1.0)
    for number in range(10):
        assert not held.enter(f"late{number}", f"10.{20 + number}.0.1", 2.0 + TRIED_S * number).admitted
    assert all(key in held for key in regular)
    assert held.enter("last", "10.99.0.1", 1.0 + PERIOD_S).displaced == "slow0"


def test_a_full_network_takes_turns_with_its_own() -> None:
    held: Places[str] = Places("sources of a fetch", 20, 5, PERIOD_S, most_alike=3)
    crowd = filled(held, 1, 3, 0.0)
    held.useful(crowd[0], 1, 0.0)
    assert held.enter("late", "10.1.0.9", 0.1).displaced == crowd[1]
    assert held.enter("later", "10.1.0.9", 0.2).displaced == crowd[2]
    for key in ("late", "later"):
        held.useful(key, 1, 0.3)
    assert not held.enter("last", "10.1.0.9", 0.4).admitted
    assert held.enter("other", HONEST, 0.4) == (True, None)


def test_whoever_waits_keeps_its_place_by_share() -> None:
    """Not by work: of a network that has more places than the newcomer's, the last to come makes room."""
    held = places()
    crowd = filled(held, 1, MOST - TRIED - 1, 0.0)
    held.enter("honest", HONEST, 0.0)
    waiting = [*crowd, "honest"]
    for second in range(0, 40, 5):
        for key in waiting:
            held.waits(key, float(second))
    on_trial = filled(held, 2, TRIED, 35.0, "b")
    assert all(key in held for key in on_trial)
    assert held.enter("other", "10.3.0.1", 36.0) == (True, crowd[-1])
    assert held.enter("third", "10.4.0.1", 36.0) == (True, crowd[-2])
    assert "honest" in held
    # Whoever does something useful is not displaced by share, whoever else is of its network.
    held.useful(crowd[0], 1, 36.0)
    held.waits(crowd[0], 36.0)
    for number in range(20):
        held.enter(f"late{number}", f"10.{20 + number}.0.1", 36.0)
    assert crowd[0] in held
    assert "honest" in held


def test_whoever_waits_no_longer_is_idle() -> None:
    held = places()
    crowd = filled(held, 1, MOST - TRIED, 0.0)
    for key in crowd:
        held.waits(key, 1.0)
    filled(held, 2, TRIED, 1.0, "b")
    assert held.enter("own", "10.1.0.99", 2 * PERIOD_S - 0.1).displaced not in crowd
    assert held.enter("later", "10.1.0.98", 2 * PERIOD_S + 0.1).displaced in crowd


def test_whoever_waits_on_trial_goes_after_the_idle_and_before_the_useful() -> None:
    held = places()
    for key in filled(held, 9, MOST - TRIED, 0.0):
        held.useful(key, 100, 1.0)
    idle, waiting, useful = (f"10.{number}.0.1" for number in range(1, TRIED + 1))
    for key, host in (("idle", idle), ("waiting", waiting), ("useful", useful)):
        held.enter(key, host, 1.0)
    held.waits("waiting", 1.0)
    held.useful("useful", 1, 1.0)
    assert held.enter("one", "10.21.0.1", 1.0 + TRIED_S).displaced == "idle"
    held.useful("one", 1, 1.5)
    assert not held.enter("two", "10.22.0.1", 1.0 + 2 * TRIED_S).admitted
    assert held.enter("two", "10.22.0.1", 1.0 + PERIOD_S).displaced == "waiting"


def test_those_that_a_crowd_named_are_a_crowd() -> None:
    """One peer that names addresses in many networks has one share of the places."""
    held = places()
    for number in range(30):
        held.enter(f"invented{number}", f"10.{number}.0.1", 0.0, named_by="192.0.2.1")
    assert held.enter("honest", HONEST, 0.0, named_by="198.51.100.1").admitted
    for number in range(30, 60):
        held.enter(f"invented{number}", f"10.{number}.0.1", TRIED_S * number, named_by="192.0.2.1")
        assert "honest" in held


def test_seats_are_shared_out_and_the_first_to_come_stay() -> None:
    held: Seats[str] = Seats("sources of a fetch", 4)
    for number in range(4):
        assert held.enter(f"a{number}", f"10.1.0.{number}") == (True, None)
    assert not held.enter("a4", "10.1.0.9").admitted
    assert held.enter("a5", "10.1.1.1") == (True, "a3")
    assert held.enter("b0", HONEST) == (True, "a2")
    assert held.enter("b1", "203.0.112.1") == (True, "a1")
    assert not held.enter("a6", "10.1.0.9").admitted
    assert held.rivals("192.0.2.1") == ["a0", "a5", "b0", "b1"]
    held.leave("a5")
    held.leave("a5")
    assert held.enter("c0", "192.0.2.1") == (True, None)
    assert all(key in held for key in ("a0", "b0", "b1", "c0"))


def test_a_host_with_many_seats_makes_room_for_its_neighbours() -> None:
    held: Seats[int] = Seats("sources of a fetch", 4)
    for number in range(4):
        held.enter(number, "10.1.0.1")
    assert held.enter(4, "10.1.0.2") == (True, 3)
    assert held.enter(5, "10.1.0.3") == (True, 2)
    assert held.enter(6, "10.1.0.4") == (True, 1)
    assert not held.enter(7, "10.1.0.5").admitted


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("10.1.2.3", "10.1.2.3", 3),
        ("10.1.2.3", "10.1.2.4", 2),
        ("10.1.2.3", "10.1.3.3", 1),
        ("10.1.2.3", "10.2.2.3", 0),
        ("10.1.2.3", "::ffff:10.1.2.3", 3),
        ("::ffff:10.1.2.3", "::ffff:10.9.2.3", 0),
        ("2001:db8:1:2::1", "2001:db8:1:2::2", 3),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", 2),
        ("2001:db8:1:2::1", "2001:db8:2:2::1", 1),
        ("2001:db8:1:2::1", "2001:db9:1:2::1", 0),
        ("fe80::1%eth0", "fe80::2%eth0", 3),
        ("peer.example", "peer.example", 3),
        ("peer.example", "other.example", 0),
    ],
)
def test_networks_nest(one: str, other: str, shared: int) -> None:
    """A /24 of IPv4 in its /16; a /64 of IPv6 in its /48 in its /32."""
    alike = [a == b for a, b in zip(networks_of(one), networks_of(other), strict=True)]
    assert alike == [True] * shared + [False] * (3 - shared)


class AnyOrder(RuleBasedStateMachine):
    """Those that do most keep their places, whoever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.held = places()
        self.now = 0.0
        self.number = 0
        self.done: dict[str, list[tuple[float, float]]] = {}
        self.since: dict[str, float] = {}
        self.waited: dict[str, float] = {}
        self.hosts: dict[str, str] = {}

    def waits_now(self, key: str) -> bool:
        return key in self.waited and self.now // PERIOD_S - self.waited[key] // PERIOD_S <= 1

    def makes_room(self, key: str, host: str) -> None:
        """Whoever waits in a regular place goes only if its network has more than the newcomer's, which is in now."""
        if self.waits_now(key) and key in self.regular:
            crowds = [networks_of(self.hosts[other]) for other in self.since]
            one, other = networks_of(self.hosts[key]), networks_of(host)
            share = tuple(sum(network in crowd for crowd in crowds) for network in one)
            own = tuple(1 + sum(network in crowd for crowd in crowds) for network in other)
            share = tuple(count + (network in other) for count, network in zip(share, one, strict=True))
            assert share > own

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
        self.regular = set(self.held._regular)
        at = self.hosts[key] = f"10.{network}.{host}.1"
        entry = self.held.enter(key, at, self.now)
        assert entry.admitted == (key in self.held)
        assert (entry.displaced is None) or entry.admitted
        assert entry.admitted or full
        if entry.displaced is not None:
            assert entry.displaced not in self.safe
            self.makes_room(entry.displaced, at)
            self.gone(entry.displaced)
        if entry.admitted:
            self.since[key], self.done[key] = self.now, []

    @rule()
    def come_from_another_network(self) -> None:
        """A newcomer whose network nobody has a place of gets one, and soon."""
        key, host = f"other{self.number}", f"172.{self.number % 200}.{self.number // 200}.1"
        self.number += 1
        trial = self.held.enter(key, host, self.now)
        if not trial.admitted:
            self.now += TRIED_S
            trial = self.held.enter(key, host, self.now)
        if not trial.admitted:
            kept = sum(self.lately(other) > 0 or self.waits_now(other) for other in self.since)
            assert kept >= TRIED, "all on trial are useful, or wait"
            self.now += PERIOD_S
            trial = self.held.enter(key, host, self.now)
        assert trial.admitted
        assert trial.displaced is None or self.lately(trial.displaced) == 0 or trial.displaced not in self.safe
        self.gone(trial.displaced)
        self.since[key], self.done[key], self.hosts[key] = self.now, [], host

    @precondition(lambda self: self.since)
    @rule(data=st.data(), amount=st.sampled_from([1.0, 5.0, 50.0]))
    def useful(self, data: st.DataObject, amount: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.since)))
        self.done[key].append((self.now, amount))
        self.held.useful(key, amount, self.now)

    @precondition(lambda self: self.since)
    @rule(data=st.data())
    def waits(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.since)))
        self.waited[key] = self.now
        self.held.waits(key, self.now)

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


class Waiting(RuleBasedStateMachine):
    """Seats: networks share them, and no flood takes the seat of whoever came first of its network."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Seats[str] = Seats("sources of a fetch", MOST)
        self.number = 0
        self.there: dict[str, int] = {}
        """Who has a seat, in the order of their coming, and of which network."""

    @rule(network=st.integers(0, MOST + 2))
    def enter(self, network: int) -> None:
        self.number += 1
        key, before = str(self.number), list(self.there.values())
        entry = self.held.enter(key, f"10.{network}.0.1")
        most = max(map(before.count, before), default=0)
        assert entry.admitted == (len(before) < MOST or most > before.count(network) + 1)
        if entry.displaced is not None:
            lost = self.there.pop(entry.displaced)
            assert before.count(lost) == most > 1
            assert lost in self.there.values(), "an older one of its network stays"
        if entry.admitted:
            self.there[key] = network

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.there)))
        self.held.leave(key)
        del self.there[key]

    @invariant()
    def bounded(self) -> None:
        assert len(self.held) == len(self.there) <= MOST
        assert all(key in self.held for key in self.there)


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=30, stateful_step_count=40)
TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, stateful_step_count=40)
