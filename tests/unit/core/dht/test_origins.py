"""Where records come from, and answers in which networks take turns."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.origins import EXEMPT, in_turns, origin_of

NETWORKS = st.tuples(st.integers(0, 3), st.integers(0, 3))


def test_networks_of_hosts() -> None:
    assert origin_of("") == EXEMPT
    assert [len(origin_of(host).networks) for host in ("11.1.1.1", "2001:db8::1", "a name")] == [3, 3, 3]
    one, other = origin_of("2001:db8:1:1::1"), origin_of("2001:db8:1:2::1")
    assert one.networks[:2] == other.networks[:2]
    assert one.nested[:2] == other.nested[:2]
    assert one.networks[2] != other.networks[2]
    assert one.nested[2] != other.nested[2]


@given(st.lists(NETWORKS, max_size=30), st.integers(0, 100))
def test_networks_take_turns(networks: list[tuple[int, int]], seed: int) -> None:
    found = [(of, (of, number)) for number, of in enumerate(networks)]
    ordered = in_turns(found, Random(seed).shuffle)
    assert sorted(ordered) == sorted(value for _, value in found)
    outer = [of[0] for of, _ in ordered]
    first = len(set(outer))
    assert len(set(outer[:first])) == first, "nobody comes twice before all have come once"
