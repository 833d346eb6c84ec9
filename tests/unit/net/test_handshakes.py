"""Who shakes hands when: nobody waits for a crowd, nobody for the silent, and the rates hold."""

from collections import Counter
from math import inf
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2p.net import handshakes
from p2p.net.handshakes import ALL_BURST, ALL_PER_S, BURST, PER_S, Handshakes
from p2p.places import NARROW, networks_of

MOST = 512
FLOOD_PER_S = 2500
HONEST = "81.2.69.253"
HOSTS = [HONEST, "81.2.69.1", "81.2.70.1", "81.3.1.1", "81.3.1.2", "2001:db8::1", "2001:db8:0:1::1", "a name"]


class Listener:
    """Connections that come with a clock, and the turns that they get."""

    def __init__(self, most: int = MOST) -> None:
        self.now = 1000.0
        self.handshakes: Handshakes[int] = Handshakes(most, self.now)
        self.of: dict[int, str] = {}
        """The hosts of those that are there."""
        self.turns: list[tuple[float, int, str]] = []
        self._numbers = 0

    def come(self, host: str, *, says: bool = True) -> int:
        self._numbers += 1
        self.of[self._numbers] = host
        displaced = self.handshakes.enter(self._numbers, host)
        if displaced is not None:
            del self.of[displaced]
        if says:
            self.handshakes.spoke(self._numbers)
        return self._numbers

    def run(self, until: float) -> list[tuple[float, int, str]]:
        """Gives turns until then; each connection leaves after its own."""
        before = len(self.turns)
        while True:
            while (key := self.handshakes.next(self.now)) is not None:
                self.turns.append((self.now, key, self.of.pop(key)))
                self.handshakes.leave(key)
            at = self.handshakes.next_at()
            assert at > self.now
            if at >= until:
                self.now = until
                return self.turns[before:]
            self.now = at

    def waits(self, key: int) -> float:
        """For how long a connection that has spoken waits for its turn, if nobody else comes."""
        began = self.now
        while True:
            for at, one, _ in self.run(self.now + 0.01):
                if one == key:
                    return at - began
            assert self.now < began + 20


def test_the_silent_take_no_turn_and_no_place_of_others() -> None:
    listener = Listener()
    for number in range(600):
        listener.come(f"81.2.69.{number % 200}", says=False)
    assert len(listener.of) == MOST
    for number in range(22):
        key = listener.come(f"81.2.69.{201 + number}", says=False)
        for more in range(300):  # before its first words have come
            listener.come(f"81.2.69.{more % 200}", says=False)
        listener.handshakes.spoke(key)
        assert listener.waits(key) <= 0.01


FLOODS = {
    "of 400 networks": [f"{20 + number % 40}.{number // 40}.1.1" for number in range(400)],
    "of 400 networks in one": [f"20.{1 + number // 250}.{number % 250}.1" for number in range(400)],
    "of the network of whoever comes": [f"81.2.69.{number}" for number in range(64)],
    "of one host": ["81.2.69.1"],
}


@pytest.mark.parametrize("name", FLOODS)
def test_whoever_comes_into_a_flood_waits_for_no_crowd(name: str) -> None:
    """Whoever had a turn waits for one of each of the others at most."""
    listener, random = Listener(), Random(1)
    for number in range(4 * FLOOD_PER_S):
        listener.come(random.choice(FLOODS[name]))
        listener.run(1000 + number / FLOOD_PER_S)
    assert len(listener.of) == MOST
    assert listener.waits(listener.come(HONEST)) <= 1 / PER_S, "one that is new"
    per_s = PER_S if networks_of(HONEST)[NARROW] == networks_of(FLOODS[name][0])[NARROW] else ALL_PER_S
    assert listener.waits(listener.come(HONEST)) <= (len(FLOODS[name]) + 1) / per_s, "one that was there before"


def test_a_host_that_comes_again_and_again_delays_its_neighbours_by_one_turn() -> None:
    listener = Listener()
    for _ in range(400):
        listener.come("81.2.69.1")
    listener.run(listener.now + 2)
    for number in range(22):
        assert listener.waits(listener.come(f"81.2.69.{100 + number}")) <= 2 / PER_S
    assert listener.waits(listener.come("81.2.70.1")) <= 0.01


def test_a_burst_of_a_network_is_spread() -> None:
    listener = Listener()
    for _ in range(200):
        listener.come(HONEST)
    times = [at - 1000 for at, _, _ in listener.run(1002)]
    assert times[:9] == [0.0] * int(ALL_BURST) + [pytest.approx(1 / ALL_PER_S)]
    early = [at for at in times if at < 0.6]
    assert len(early) == pytest.approx(BURST, abs=10)
    assert len(times) == pytest.approx(BURST + 2 * PER_S, abs=2)


def test_what_is_remembered_is_bounded() -> None:
    listener = Listener()
    for number in range(6_000):
        listener.come(f"{20 + number % 200}.{number // 200}.1.1")
        listener.run(listener.now + 1 / ALL_PER_S)
    assert len(listener.handshakes._last) <= handshakes.MAX_REMEMBERED
    assert len(listener.handshakes._rates) <= handshakes.MAX_NETWORKS
    for key in list(listener.of):
        listener.handshakes.leave(key)
    left = listener.handshakes
    assert [len(kept) for kept in (left._waiting, left._ready, left._networks, left._crowd)] == [0, 0, 0, 0]


class AnyOrder(RuleBasedStateMachine):
    """Connections that come, speak, shake hands, leave and are displaced, in any order."""

    @initialize(most=st.integers(1, 8))
    def begin(self, most: int) -> None:
        self.most, self.now = most, 0.0
        self.handshakes: Handshakes[int] = Handshakes(most, 0.0)
        self.silent: dict[int, str] = {}
        self.waiting: dict[int, str] = {}
        self.shaking: dict[int, str] = {}
        self.numbers = 0
        self.turns: list[tuple[float, str]] = []

    @property
    def there(self) -> dict[int, str]:
        return self.silent | self.waiting | self.shaking

    def gone(self, key: int) -> None:
        for kept in (self.silent, self.waiting, self.shaking):
            kept.pop(key, None)

    @rule(host=st.sampled_from(HOSTS), says=st.booleans())
    def comes(self, host: str, says: bool) -> None:
        self.numbers += 1
        key = self.numbers
        self.silent[key] = host
        displaced = self.handshakes.enter(key, host)
        assert (displaced is not None) == (len(self.there) > self.most)
        if displaced is not None:
            assert displaced != key or len(self.there) == 1
            counts = Counter(network for one in self.there.values() for network in networks_of(one))
            shares = {one: [counts[network] for network in networks_of(host)] for one, host in self.there.items()}
            assert shares[displaced][0] == max(share[0] for share in shares.values())
            of_its_host = [one for one, host in self.there.items() if host == self.there[displaced]]
            assert displaced == min(of_its_host)
            self.gone(displaced)
        if says and key in self.silent:
            self.speaks(key)

    @rule(data=st.data())
    def says_something(self, data: st.DataObject) -> None:
        if self.silent:
            self.speaks(data.draw(st.sampled_from(sorted(self.silent))))

    def speaks(self, key: int) -> None:
        self.handshakes.spoke(key)
        self.waiting[key] = self.silent.pop(key)

    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        if self.there:
            key = data.draw(st.sampled_from(sorted(self.there)))
            self.handshakes.leave(key)
            self.handshakes.spoke(key)
            self.gone(key)

    @rule(times=st.integers(1, 20))
    def turns_are_given(self, times: int) -> None:
        for _ in range(times):
            key = self.handshakes.next(self.now)
            if key is not None:
                host = self.shaking[key] = self.waiting.pop(key)
                self.turns.append((self.now, host))
            elif (at := self.handshakes.next_at()) < inf:
                assert at > self.now
                self.now = at

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def whoever_waits_has_a_turn_coming(self) -> None:
        if hasattr(self, "turns"):
            assert len(self.handshakes) == len(self.there) <= self.most
            assert (self.handshakes.next_at() < inf) == bool(self.waiting)

    @invariant()
    def no_rate_is_exceeded(self) -> None:
        if hasattr(self, "turns"):
            assert len(self.turns) <= ALL_BURST + ALL_PER_S * self.now + 1
            narrow = Counter(networks_of(host)[NARROW] for _, host in self.turns)
            assert all(count <= BURST + PER_S * self.now + 1 for count in narrow.values())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=15)
