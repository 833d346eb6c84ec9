"""The queue of owners at a volunteer whose cores are busy: who gets a place, and who is first once a core is free.

There are few places, which networks share (`p2p.places.Seats`), and few of them for one owner; an owner that gets no
place, or loses it to one of another network, asks again later. First comes an owner that reconnects while its job still
counts as running here: its cores were never free. Then come owners with nothing running here, then the others. Within
each group, the turns are round-robin, as for upload slots (`round_robin`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from p2p.ids import PeerId
from p2p.places import Seats, network_of
from p2p.round_robin import RoundRobin

MAX_WAITING = 32
MAX_PER_OWNER = 4


@dataclass(frozen=True, eq=False)
class QueuePlace:
    """The place of one job offer in the queue, with its owner and the host where the owner is."""

    owner: PeerId
    host: str
    returns: bool = False
    """Whether the offer's job was running here until now. Running jobs are bounded, so it always gets a place."""


class WaitingQueue:
    """The places of all waiting offers. A place that `join` refused is not in the queue, so never in `order`."""

    def __init__(self) -> None:
        self._turns: RoundRobin[QueuePlace] = RoundRobin()
        self._seats: Seats[QueuePlace] = Seats("waiting owners", MAX_WAITING)
        """Of those that do not return."""
        self._places: set[QueuePlace] = set()

    def __len__(self) -> int:
        return len(self._places)

    def holds(self, place: QueuePlace) -> bool:
        """Whether this place is in the queue."""
        return place in self._places

    def join(self, place: QueuePlace) -> bool:
        """Adds the place, if there is room for it, or instead of another. Returns whether there was."""
        if not place.returns:
            if sum(other.owner == place.owner for other in self._places) >= MAX_PER_OWNER:
                return False
            entry = self._seats.enter(place, place.host)
            if not entry.admitted:
                return False
            if entry.displaced is not None:
                self.leave(entry.displaced)
        self._places.add(place)
        self._turns.add(place, network_of(place.host), place.owner)
        return True

    def leave(self, place: QueuePlace) -> None:
        """Removes the place, if it was in the queue."""
        self._seats.leave(place)
        self._places.discard(place)
        self._turns.drop(place)

    def serve(self, place: QueuePlace) -> None:
        """Records that the place, which is in the queue, has its turn now."""
        self._seats.leave(place)
        self._places.remove(place)
        self._turns.serve(place)

    def order(self, at_work: Collection[PeerId]) -> list[QueuePlace]:
        """All places, first to last, if the owners `at_work` have jobs running."""
        return sorted(self._turns.order(), key=lambda place: (not place.returns, place.owner in at_work))
