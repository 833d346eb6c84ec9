"""Who holds places from where: counts by network against a plain count, and answers in which networks take turns."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.crowds import EXEMPT, Crowd, in_turns, origin_of

NETWORKS = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), NETWORKS), max_size=40))
def test_the_most_crowded_network_is_known_at_any_time(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    crowd: Crowd[int] = Crowd()
    held: dict[int, tuple[int, int]] = {}
    for number, (comes, networks) in enumerate(steps):
        if comes or not held:
            held[number] = networks
            crowd.add(number, networks)
        else:
            gone = min(held, key=lambda key: (held[key] != networks, key))
            crowd.remove(gone, held.pop(gone))
        wide = Counter(outer for outer, _ in held.values())
        narrow = Counter(held.values())
        assert len(crowd) == len(held)
        if held:
            most = crowd.most_crowded()
            inside = max(count for (outer, _), count in narrow.items() if outer == most[0])
            assert crowd.sizes(most) == (max(wide.values()), inside)
        for outer in range(4):
            most_inside = max((count for (wide_one, _), count in narrow.items() if wide_one == outer), default=0)
            within = crowd.most_crowded((outer,))
            assert within[:1] == ((outer,) if most_inside else ())
            assert crowd.sizes(within) == ((wide[outer], most_inside) if most_inside else ())
        for one in set(held.values()):
            came = [key for key, of in held.items() if of == one]
            assert crowd.last(one, 3) == came[::-1][:3]


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
