"""Adverts: what this package announces about this peer, besides its shares, for the packages that use it."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from p2p.core.dht.publications import Item
from p2p.wire.tracker import Capacity, Provided


class Advert(NamedTuple):
    """What one package currently wants to be announced about this peer."""

    keys: tuple[Provided, ...] = ()
    """Keys for trackers, announced as if they were shares: a tracker tells peers with a key which peers lack it."""
    capacity: Capacity | None = None
    """The cores that this peer offers."""
    items: tuple[Item, ...] = ()
    """Records for the DHT."""


Adverts = Sequence[Callable[[], Advert]]


def gather(adverts: Adverts) -> Advert:
    """Combines all adverts into one."""
    told = [advert() for advert in adverts]
    capacities = [one.capacity for one in told if one.capacity is not None]
    return Advert(
        keys=tuple(_merged(key for one in told for key in one.keys)),
        capacity=capacities[0] if capacities else None,
        items=tuple(item for one in told for item in one.items),
    )


def _merged(keys: Iterable[Provided]) -> Iterable[Provided]:
    """Yields each key once.

    A key that this peer both has and lacks is announced as lacked; otherwise nobody would call about it.
    """
    found: dict[str, Provided] = {}
    for one in keys:
        if one.key not in found or not one.whole:
            found[one.key] = one
    return found.values()
