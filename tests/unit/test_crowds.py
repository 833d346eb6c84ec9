"""Who holds places from where: counts by network, against a plain count."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.crowds import Crowd

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
            oldest = crowd.oldest_of_most_crowded()
            outer, inner = held[oldest]
            inside = max(count for (name, _), count in narrow.items() if name == outer)
            assert crowd.sizes((outer, inner)) == (max(wide.values()), inside)
            assert oldest == min(key for key, of in held.items() if of == (outer, inner))
        for outer in range(4):
            most_inside = max((count for (wide_one, _), count in narrow.items() if wide_one == outer), default=0)
            within = crowd.most_crowded((outer,))
            assert within[:1] == ((outer,) if most_inside else ())
            assert crowd.sizes(within) == ((wide[outer], most_inside) if most_inside else ())
        for one in set(held.values()):
            came = [key for key, of in held.items() if of == one]
            assert crowd.last(one, 3) == came[::-1][:3]


@given(st.lists(NETWORKS, min_size=1, max_size=40), NETWORKS)
def test_who_makes_room_holds_more_than_the_newcomer_would(
    held: list[tuple[int, int]], newcomer: tuple[int, int]
) -> None:
    crowd: Crowd[int] = Crowd()
    for number, networks in enumerate(held):
        crowd.add(number, networks)

    def shares(counted: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return [
            (sum(other[0] == outer for other in counted), counted.count((outer, inner))) for outer, inner in counted
        ]

    *others, own = shares([*held, newcomer])
    crowded = crowd.outdone(-1, newcomer)
    assert crowd.size == len(held)
    if crowded:
        [last] = crowd.last(crowded, 1)
        assert others[last] > own
        assert others[last][0] == max(outer for outer, _ in others)
    else:
        most = [outer for outer in {outer for outer, _ in held} if (max(others)[0]) > own[0]]
        assert not most, "nobody of a wider network that holds more"


@given(st.lists(NETWORKS, min_size=1, max_size=40), st.integers(0, 3))
def test_a_network_is_looked_at_alone(held: list[tuple[int, int]], inner: int) -> None:
    crowd: Crowd[int] = Crowd()
    for number, networks in enumerate(held):
        crowd.add(number, networks)
    outer = held[0][0]
    within = Counter(networks for networks in held if networks[0] == outer)
    assert within[crowd.most_crowded((outer,))] == max(within.values())  # type: ignore[index]
    crowded = crowd.outdone(-1, (outer, inner), (outer,))
    assert bool(crowded) == any(count > within[outer, inner] + 1 for count in within.values())
    assert not crowded or within[crowded] == max(within.values())  # type: ignore[index]
