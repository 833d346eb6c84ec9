"""Which members of a swarm are a fetch's sources: those that give something, and a few that are being tried.

A member without a place is served like any other, and waits: every now and then the one that has waited for longest
asks for a place again. The rule is in `p2p.places`; useful is a source whose chunks were right.
"""

from p2p.places import TRIED_S, UNVERIFIED, Entry, Places
from p2p.sharing.swarm import Party

PERIOD_S = 10.0
_TRIED_SHARE = 4
"""One place in so many is for members on trial."""


def worth(given: tuple[int, int]) -> float:
    """How much bytes count for the place of a source: those that were right, and those that came."""
    right, came = given
    return right + came * UNVERIFIED


class SourcePlaces:
    """The places of one fetch's sources, and the members that wait for one."""

    def __init__(self, most: int) -> None:
        self._places: Places[Party] = Places("sources of a fetch", most, max(1, most // _TRIED_SHARE), PERIOD_S)
        self._waiting: dict[Party, None] = {}
        self._asked_again = 0.0

    def enter(self, member: Party, now: float) -> Entry[Party]:
        """Asks for a place. Without one, the member waits, and so does the one that it displaces."""
        entry = self._places.enter(member, member.ends.remote_host, now)
        if entry.admitted:
            self._waiting.pop(member, None)
        else:
            self._waiting[member] = None
        if entry.displaced is not None:
            self._waiting[entry.displaced] = None
        return entry

    def useful(self, member: Party, size: int, now: float) -> None:
        """Counts bytes that a source has sent and that were right."""
        self._places.useful(member, size, now)

    def on_its_way(self, member: Party, size: int, now: float) -> None:
        """Counts, for very little, bytes of a chunk that is not whole: whoever sends slowly is not cut off at once."""
        self._places.useful(member, size * UNVERIFIED, now)

    def postpone(self, member: Party) -> None:
        """Takes the place of a member that cannot use it now, and has it wait."""
        self._places.leave(member)
        self._waiting[member] = None

    def leave(self, member: Party) -> None:
        """Forgets a member that has left the swarm. Whoever waits need not do so until the usual time."""
        if member in self._places:
            self._asked_again = -TRIED_S
        self._places.leave(member)
        self._waiting.pop(member, None)

    def next(self, now: float) -> Party | None:
        """Returns the member whose turn it is to ask again, if it is time for that."""
        if not self._waiting or now - self._asked_again < TRIED_S:
            return None
        self._asked_again = now
        member = next(iter(self._waiting))
        del self._waiting[member]
        self._waiting[member] = None  # last, if it is refused
        return member
