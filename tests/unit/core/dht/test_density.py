"""Crowds around a key: told from what is usual, and left behind by paths that share no node with the first."""

from random import Random

import pytest

from p2p.core.dht.density import MAX_TARGETS, Density, points_around
from p2p.core.dht.lookup import Claims, Lookup, LookupState
from p2p.core.dht.routing import Contact, K, point

OWN = b"\xaa" * 20


class Place:
    """Honest nodes all over the id space, which know whom they would know, and liars that name each other."""

    def __init__(self, seed: int, count: int = 200) -> None:
        self.random = Random(seed)
        self.honest = [
            Contact(self.random.randbytes(20), f"{11 + number % 200}.{number // 200}.1.1", 7) for number in range(count)
        ]
        self.liars: list[Contact] = []

    def crowd(self, target: bytes, count: int, networks: int) -> None:
        """As many liars, nearer to the target than anybody honest."""
        nearest = min(map(point(target).distance_to, self.honest))
        for number in range(count):
            near = int.from_bytes(target, "big") ^ self.random.randrange(nearest)
            host = f"{211 + number % networks % 10}.{number % networks // 10}.1.{1 + number // networks}"
            self.liars.append(Contact(near.to_bytes(20, "big"), host, 7))

    def names(self, node: Contact, target: bytes) -> list[Contact]:
        """What a node answers: of all that it could know, mostly those near itself."""
        if node in self.liars:
            return sorted(self.liars, key=point(target).distance_to)[:K]
        known = sorted((*self.honest, *self.liars), key=node.distance_to)[: 2 * K] + self.random.sample(self.honest, 40)
        return sorted({one.id: one for one in known}.values(), key=point(target).distance_to)[:K]

    def look_up(self, lookup: Lookup) -> list[Contact]:
        while (chosen := lookup.next()) is not None:
            lookup.answered(chosen, self.names(chosen, lookup.target))
        assert lookup.done
        return lookup.nearest()

    def find(self, target: bytes) -> list[Contact]:
        return self.look_up(Lookup(target, OWN, self.random.sample(self.honest, 5)))


def taught(place: Place) -> Density:
    density = Density()
    for _ in range(9):
        target = place.random.randbytes(20)
        density.heard(target, place.find(target))
    return density


def test_chance_is_no_crowd_and_a_crowd_is_one() -> None:
    place = Place(1)
    density = taught(place)
    targets = [place.random.randbytes(20) for _ in range(40)]
    assert sum(density.is_crowded(target, place.find(target)) for target in targets) <= 1
    place.crowd(targets[0], 20, 10)
    assert density.is_crowded(targets[0], place.find(targets[0]))
    assert not density.is_crowded(targets[1], place.find(targets[1]))


def test_the_radius_has_as_many_honest_nodes_as_expected_whoever_crowds_there() -> None:
    place = Place(2)
    density = taught(place)
    target = place.random.randbytes(20)
    place.crowd(target, 40, 20)
    for _ in range(3):
        density.heard(target, place.find(target))
    radius = density.radius(target, K)
    assert radius is not None
    honest = sum(point(target).distance_to(node) <= radius for node in place.honest)
    assert K / 2 < honest < 2 * K


def test_little_is_known_at_first_and_in_a_small_network() -> None:
    density = Density()
    target = bytes(20)
    near = Place(3, K - 1).honest
    density.heard(b"\1" * 20, near)
    assert density.radius(target, K) is None
    assert not density.is_crowded(target, near)
    many = sorted(Place(3).honest, key=point(target).distance_to)[:K]
    density.heard(target, many)
    assert density.radius(target, K) is None, "a target says nothing about itself"
    for number in range(2 * MAX_TARGETS):
        density.heard(number.to_bytes(20, "big"), many)
    assert len(density._spacing) == MAX_TARGETS


def test_points_are_in_the_region_and_far_from_its_middle() -> None:
    target = Random(1).randbytes(20)
    radius = 2.0**150
    points = points_around(target, radius, 3)
    distances = [point(target).distance_to(point(one)) for one in points]
    assert distances == [2**150, 2**149, 2**148]
    whole = points_around(target, 2.0**163, 2)
    assert [point(target).distance_to(point(one)) for one in whole] == [2**159, 2**158], "a small network is one region"
    assert points_around(target, 0.5, 1)[0] != target


@pytest.mark.parametrize("networks", [5, 10, 20])
def test_paths_around_a_crowd_share_no_node_and_find_who_is_honest(networks: int) -> None:
    place = Place(networks)
    density = taught(place)
    target = place.random.randbytes(20)
    place.crowd(target, 40, networks)
    claims = Claims()
    first = Lookup(target, OWN, place.random.sample(place.honest, 5), claims=claims)
    near = place.look_up(first)
    radius = density.radius(target, K)
    assert radius is not None
    paths = [
        Lookup(one, OWN, [*first.unasked(), *place.random.sample(place.honest, 5)], claims=claims)
        for one in points_around(target, radius, 3)
    ]
    around = [node for path in paths for node in place.look_up(path)]
    everybody = [*place.honest, *place.liars]
    answered = [sum(path.state(node) is LookupState.ANSWERED for path in (first, *paths)) for node in everybody]
    assert max(answered) == 1, "no node is asked on two paths"
    honest = {node.id for node in place.honest}
    if networks == 20:
        assert not honest & {node.id for node in near}, "all of the nearest are of the crowd"
    within = [node for node in (*near, *around) if node.id in honest and point(target).distance_to(node) <= radius]
    assert len(within) >= K / 2
