"""Swarms: who has a place, who is told of whom, and what one network with many members changes for others."""

from collections import Counter
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.wire.address import Scope
from tests.support.constants import Shorten
from tracker.torrents import swarms
from tracker.torrents.swarms import Member, Swarms, place_at

HASH, PEER = b"h" * 20, b"p" * 20
HONEST = [f"203.0.{number}.7" for number in range(6)]


def come(held: Swarms, host: str, port: int = 1, *, seeds: bool = False, info_hash: bytes = HASH) -> Member | None:
    return held.keep(info_hash, place_at(host, port), PEER, seeds=seeds, until=1.0)


def told(held: Swarms, most: int, seed: int = 1, *, seeds: bool = False) -> list[str]:
    """The hosts that a client on the Internet is told."""
    return [one.place.host for one in held.swarm(HASH).sample(Scope.GLOBAL, most, Random(seed), seeds=seeds)]


def is_there(held: Swarms, host: str) -> bool:
    return host in told(held, 10_000)


@pytest.fixture
def bounds(shorten: Shorten) -> None:
    shorten(swarms, "MAX_MEMBERS", 60)
    shorten(swarms, "MAX_PER_NETWORK", 40)
    shorten(swarms, "MAX_PER_ADDRESS", 30)


@pytest.mark.usefixtures("bounds")
def test_a_crowd_of_one_network_keeps_nobody_out_of_a_swarm() -> None:
    """Three addresses filled one: others were refused for 35 minutes."""
    held = Swarms()
    for port in range(1, 40):
        for host in ("9.9.9.1", "9.9.9.2", "9.9.9.3"):
            come(held, host, port)
    for host in HONEST:
        assert come(held, host) is not None
    for port in range(40, 80):
        for host in ("9.9.8.1", "9.9.7.2", "9.9.6.3"):
            come(held, host, port)
    assert held.figures == (1, 60)
    assert all(is_there(held, host) for host in HONEST)


@pytest.mark.usefixtures("bounds")
def test_made_up_swarms_of_one_network_forget_nobody_elsewhere() -> None:
    """A hundred addresses made up so many that the oldest members of all swarms went."""
    held = Swarms()
    for host in HONEST:
        come(held, host)
    for number in range(200):
        come(held, f"9.9.{number % 4}.{number}", info_hash=number.to_bytes(20, "big"))
    assert held.figures[1] == 60
    assert all(is_there(held, host) for host in HONEST)


@pytest.mark.usefixtures("bounds")
def test_a_neighbour_of_a_crowd_has_a_place() -> None:
    held = Swarms()
    for port in range(1, 31):
        come(held, "9.9.9.1", port)
        come(held, "9.9.9.2", port)
    assert held.figures[1] == 40
    assert come(held, "9.9.9.3") is not None
    assert held.figures[1] == 40
    assert come(held, "9.9.9.1", 99) is None


def test_each_network_is_told_in_turn() -> None:
    """Of 500 members of one network and 6 of others, nearly nobody was told of the 6."""
    held = Swarms()
    for port in range(1, 501):
        come(held, "9.9.9.1", port)
    for host in HONEST:
        come(held, host)
    assert Counter(told(held, 50)) == Counter({"9.9.9.1": 44}) + Counter(HONEST)
    some = Counter(host for seed in range(60) for host in told(held, 3, seed))
    assert set(some) == {"9.9.9.1", *HONEST}
    assert some["9.9.9.1"] < 60, "one of seven networks is told in about 26 of 60 answers"


def test_many_expire_over_several_announces(shorten: Shorten) -> None:
    """After a quiet hour, one announce forgot all members at once."""
    shorten(swarms, "EXPIRED_AT_ONCE", 4)
    held = Swarms()
    for port in range(1, 11):
        come(held, "9.9.9.1", port)
    for left in (6, 2, 0):
        held.expire(1.0)
        assert held.figures == (int(left > 0), left)


class AnyOrder(RuleBasedStateMachine):
    """Counts and samples agree with a plain list, whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Swarms(outside=["8.8.8.8"])
        self.there: dict[tuple[int, str, int], bool] = {}

    @rule(
        swarm=st.integers(0, 1),
        host=st.sampled_from(["9.9.9.1", "9.9.9.2", "9.9.8.1", "2600::1", "192.168.1.1", "127.0.0.1"]),
        port=st.integers(1, 4),
        seeds=st.booleans(),
    )
    def keep(self, swarm: int, host: str, port: int, seeds: bool) -> None:
        assert come(self.held, host, port, seeds=seeds, info_hash=bytes([swarm]) * 20) is not None
        self.there[swarm, host, port] = seeds

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        swarm, host, port = data.draw(st.sampled_from(sorted(self.there)))
        self.held.leave(bytes([swarm]) * 20, place_at(host, port))
        del self.there[swarm, host, port]

    @rule(swarm=st.integers(0, 1), of=st.sampled_from([0, 1, 2]), most=st.integers(0, 30), seeds=st.booleans())
    def sample(self, swarm: int, of: int, most: int, seeds: bool) -> None:
        found = self.held.swarm(bytes([swarm]) * 20).sample(of, most, Random(most), seeds=seeds)
        reached = {"127.0.0.1": Scope.MACHINE}
        fit = {
            (host, port)
            for (where, host, port), seed in self.there.items()
            if where == swarm and not (seed and seeds) and reached.get(host, Scope.GLOBAL) >= of
        }
        drawn = [(one.place.host, one.place.port) for one in found]
        assert set(drawn) <= fit
        assert len(set(drawn)) == len(drawn) == min(most, len(fit))
        for one in found:
            is_inner = one.place.host == "192.168.1.1" and of == Scope.GLOBAL
            assert one.seen_from(of).host == ("8.8.8.8" if is_inner else one.place.host)

    @invariant()
    def counted(self) -> None:
        for number in (0, 1):
            of_swarm = [seeds for (swarm, _, _), seeds in self.there.items() if swarm == number]
            swarm = self.held.swarm(bytes([number]) * 20)
            assert (swarm.seeds, swarm.leeches) == (sum(of_swarm), len(of_swarm) - sum(of_swarm))
        assert self.held.figures == (len({swarm for swarm, _, _ in self.there}), len(self.there))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, stateful_step_count=40)
