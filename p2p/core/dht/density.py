"""How close to each other the nodes of the DHT are, and whether more than chance would bring crowd around a key.

Ids near a key cost work to make, but not much: whoever makes twenty in ten networks has the nearest nodes of a key for
itself, takes all records, and gives none. But then these are much nearer than nodes are elsewhere, which every lookup
tells. The distances of past lookups, the median of many targets, give the radius in which a number of honest nodes is
expected, however many others there are: with the nodes in that radius a record is safe.

Source: Sridhar and others, "Content Censorship in the InterPlanetary File System" (2023), which finds such crowds by
the same distances, and reads and writes by region; the paths are those of Baumgart and Mies, "S/Kademlia" (2007).
"""

from collections import OrderedDict
from collections.abc import Sequence
from statistics import median

from p2p.core.dht.routing import Contact, K, point

MAX_TARGETS = 32
CROWDED_BELOW = 0.3 * K
"""A crowd that leaves room for more honest nodes among the nearest than this is none, and hides nothing."""


class Density:
    """What lookups have shown of the distances between nodes. Distances are numbers below 2^160."""

    def __init__(self) -> None:
        self._spacing: OrderedDict[bytes, float] = OrderedDict()
        """For each target, the distance of the last of its `K` nearest nodes, divided by `K`."""

    def heard(self, target: bytes, near: Sequence[Contact]) -> None:
        """Records the nearest nodes that a lookup has found, nearest first."""
        if len(near) < K:
            return  # so few nodes are there that all of them are near
        self._spacing[target] = point(target).distance_to(near[K - 1]) / K
        self._spacing.move_to_end(target)
        if len(self._spacing) > MAX_TARGETS:
            self._spacing.popitem(last=False)

    def radius(self, target: bytes, count: float) -> float | None:
        """Within which distance of the target this many nodes are expected, by what was heard of other targets."""
        others = [spacing for other, spacing in self._spacing.items() if other != target]
        return median(others) * count if others else None

    def is_crowded(self, target: bytes, near: Sequence[Contact]) -> bool:
        """Whether `K` nodes are where `CROWDED_BELOW` are expected. Chance alone hardly ever does that."""
        radius = self.radius(target, CROWDED_BELOW)
        return radius is not None and len(near) >= K and point(target).distance_to(near[K - 1]) < radius


def points_around(target: bytes, radius: float, count: int) -> list[bytes]:
    """Points in the half, the quarter, the eighth of the region around the target that it is not in itself.

    To these points, nodes that crowd around the target are farther than the others there.
    """
    highest = max(0, min(int(radius).bit_length(), 8 * len(target)) - 1)
    place = int.from_bytes(target, "big")
    return [(place ^ (1 << max(0, highest - number))).to_bytes(len(target), "big") for number in range(count)]
