"""Where records and queries come from, and an order in which networks take turns."""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from p2p import round_robin
from p2p.crowds import Networks
from p2p.places import NARROW, networks_of

V = TypeVar("V")

Shuffle = Callable[[list[Any]], None]
"""Puts a list into a random order."""


class Origin(NamedTuple):
    """Where something came from."""

    networks: Networks
    """Those of `places.networks_of`; none for a host that is exempt."""
    prefix: Hashable
    """The network that quotas are for: a /24 of IPv4, a /48 of IPv6; empty for a host that is exempt."""
    nested: tuple[int, ...]
    """A number for each of the networks, in the order of `networks`: quick to count by."""


EXEMPT = Origin((), "", ())


@lru_cache(maxsize=4096)
def origin_of(host: str) -> Origin:
    """The networks of a host; an empty text is a host that is exempt from all shares."""
    if not host:
        return EXEMPT
    networks = networks_of(host)
    return Origin(networks, networks[NARROW], tuple(hash(networks[: depth + 1]) for depth in range(len(networks))))


def in_turns(found: Sequence[tuple[Networks, V]], shuffle: Shuffle) -> list[V]:
    """The values in a random order in which each network has its turn, and within its turns each network in it."""
    lanes: dict[Hashable, list[tuple[Networks, V]]] = {}
    for number, (networks, value) in enumerate(found):
        lanes.setdefault(networks[0] if networks else number, []).append((networks[1:], value))
    ordered = [[lane[0][1]] if len(lane) == 1 else in_turns(lane, shuffle) for lane in lanes.values()]
    shuffle(ordered)
    return list(round_robin.in_turns(ordered))
