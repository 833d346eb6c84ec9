"""Adverts: what is told of this peer besides its shares, by packages above this one."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from p2p.core.dht.publications import Item
from p2p.wire.tracker import Capacity, Provided


class Advert(NamedTuple):
    """What one of them has to tell at the moment."""

    keys: tuple[Provided, ...] = ()
    """For trackers, told as if they were shares: they answer those who have a key with those who lack it."""
    capacity: Capacity | None = None
    """What this peer offers of its cores."""
    items: tuple[Item, ...] = ()
    """For the DHT."""


Adverts = Sequence[Callable[[], Advert]]


def gather(adverts: Adverts) -> Advert:
    """All of them as one."""
    told = [advert() for advert in adverts]
    capacities = [one.capacity for one in told if one.capacity is not None]
    return Advert(
        keys=tuple(_merged(key for one in told for key in one.keys)),
        capacity=capacities[0] if capacities else None,
        items=tuple(item for one in told for item in one.items),
    )


def _merged(keys: Iterable[Provided]) -> Iterable[Provided]:
    """Each key once: one that this peer both has and lacks is told as lacked, or nobody would call about it."""
    found: dict[str, Provided] = {}
    for one in keys:
        if one.key not in found or not one.whole:
            found[one.key] = one
    return found.values()
