"""What a connection is good for: the one measure by which `listener` decides which connections keep their places.

Whatever is useful over a connection is told to its `Use`, and counts for nothing if it is not:

    gave           bytes of chunks, manifests or outputs that were sent to the peer; each counts once, however often the
                   peer asks for it
    got            bytes of them that came from the peer and were right; `arriving`, a millionth of those that are to be
                   verified yet
    worked         seconds in which a unit was being worked on, or a cluster was connected, on either side
    told_to_wait,  a round trip with a peer that waits in a line, or is hired and has nothing to do. It is no work: it
    heard          shows that the peer is there, and those that wait share the places by network

Heartbeats and small questions alone are none of these.
"""

from collections.abc import Hashable

from p2p.places import UNVERIFIED

WORKED_BYTES_PER_S = 256 * 1024
"""A second of work on a unit counts as much as so many bytes."""
MAX_REMEMBERED = 1024
"""For how many things a connection remembers how much of each it has given."""


class Use:
    """The use of one connection so far."""

    __slots__ = ("_given", "_told", "bytes", "round_trips")

    def __init__(self) -> None:
        self.bytes = 0.0
        """How much was done, in bytes."""
        self.round_trips = 0
        """How often the peer has shown that it is there while it waits."""
        self._given: dict[Hashable, int] = {}
        self._told = False

    def gave(self, what: Hashable, size: int, whole: int) -> None:
        """Counts bytes that were sent of something that has `whole` bytes."""
        before = self._given.pop(what, 0)
        new = min(size, whole - before)
        self._given[what] = before + new
        if len(self._given) > MAX_REMEMBERED:
            del self._given[next(iter(self._given))]
        self.bytes += new

    def got(self, size: int) -> None:
        """Counts bytes that came and were right."""
        self.bytes += size

    def arriving(self, size: int) -> None:
        """Counts bytes that came and are to be verified, with what follows them."""
        self.bytes += size * UNVERIFIED

    def worked(self, seconds: float) -> None:
        """Counts time in which a unit was being worked on, or two members of a cluster were connected."""
        self.bytes += seconds * WORKED_BYTES_PER_S

    def told_to_wait(self) -> None:
        """Notes that the peer was told that it waits; an answer, which `heard` notes, shows that it is there."""
        self._told = True

    def heard(self) -> None:
        """Notes that something came from the peer. Counts if it was told to wait before."""
        if self._told:
            self._told = False
            self.round_trips += 1
