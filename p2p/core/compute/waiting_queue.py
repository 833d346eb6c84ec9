"""The line of owners at a volunteer whose cores are busy: who gets a place, and who is first once a core is free.

Places are few, at most half of them for one network and few for one owner; who gets none asks again later. Whose job
was at work here and comes back over a new connection is first: its cores were not free. Then come those who have
nothing at work here, then the others. Within each group turns go round as for upload slots (`turns`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from p2p.core.round_robin import RoundRobin
from p2p.ids import PeerId

MAX_WAITING = 32
MAX_PER_NETWORK = MAX_WAITING // 2
MAX_PER_OWNER = 4


@dataclass(frozen=True, eq=False)
class QueuePlace:
    """One offer in line, of an owner at a network (`wire.address.prefix`)."""

    owner: PeerId
    network: str
    returns: bool = False
    """Its job was at work here until now. Bounded by the jobs at work, so a place for it there always is."""


class WaitingQueue:
    """Who waits. A place that was not given is in no line, and never first."""

    def __init__(self) -> None:
        self._turns: RoundRobin[QueuePlace] = RoundRobin()
        self._places: set[QueuePlace] = set()

    def __len__(self) -> int:
        return len(self._places)

    def holds(self, place: QueuePlace) -> bool:
        """Whether it waits."""
        return place in self._places

    def join(self, place: QueuePlace) -> bool:
        """Whether there is such a place, which is had from now on."""
        if not place.returns and not self._has_room(place):
            return False
        self._places.add(place)
        self._turns.add(place, place.network, place.owner)
        return True

    def _has_room(self, place: QueuePlace) -> bool:
        return (
            len(self._places) < MAX_WAITING
            and sum(other.network == place.network for other in self._places) < MAX_PER_NETWORK
            and sum(other.owner == place.owner for other in self._places) < MAX_PER_OWNER
        )

    def leave(self, place: QueuePlace) -> None:
        """It waits no longer, if it did."""
        self._places.discard(place)
        self._turns.drop(place)

    def serve(self, place: QueuePlace) -> None:
        """One that waits has its turn now."""
        self._places.remove(place)
        self._turns.serve(place)

    def order(self, at_work: Collection[PeerId]) -> list[QueuePlace]:
        """Who is first, second and so on, where these owners have jobs at work."""
        return sorted(self._turns.order(), key=lambda place: (not place.returns, place.owner in at_work))
