"""The queue of owners at a volunteer whose cores are busy: who gets a place, and who is first once a core is free.

There are few places, at most half of them for one network and few for one owner; an owner that gets no place asks again
later. First comes an owner that reconnects while its job still counts as running here: its cores were never free. Then
come owners with nothing running here, then the others. Within each group, the turns are round-robin, as for upload
slots (`round_robin`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from p2p.ids import PeerId
from p2p.round_robin import RoundRobin

MAX_WAITING = 32
MAX_PER_NETWORK = MAX_WAITING // 2
MAX_PER_OWNER = 4


@dataclass(frozen=True, eq=False)
class QueuePlace:
    """The place of one job offer in the queue, with its owner and the owner's network (`wire.address.prefix`)."""

    owner: PeerId
    network: str
    returns: bool = False
    """Whether the offer's job was running here until now. Running jobs are bounded, so it always gets a place."""


class WaitingQueue:
    """The places of all waiting offers. A place that `join` refused is not in the queue, so never in `order`."""

    def __init__(self) -> None:
        self._turns: RoundRobin[QueuePlace] = RoundRobin()
        self._places: set[QueuePlace] = set()

    def __len__(self) -> int:
        return len(self._places)

    def holds(self, place: QueuePlace) -> bool:
        """Whether this place is in the queue."""
        return place in self._places

    def join(self, place: QueuePlace) -> bool:
        """Adds the place, if there is room for it. Returns whether there was."""
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
        """Removes the place, if it was in the queue."""
        self._places.discard(place)
        self._turns.drop(place)

    def serve(self, place: QueuePlace) -> None:
        """Records that the place, which is in the queue, has its turn now."""
        self._places.remove(place)
        self._turns.serve(place)

    def order(self, at_work: Collection[PeerId]) -> list[QueuePlace]:
        """All places, first to last, if the owners `at_work` have jobs running."""
        return sorted(self._turns.order(), key=lambda place: (not place.returns, place.owner in at_work))
