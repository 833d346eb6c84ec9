"""Where each packet of a cluster's network goes, as one member decides it. It never passes on what is for others.

from this member's own network   to the line of the member whose address it is for; if that one is gone, it is
                                 refused in its name; if it is only away, it is dropped, and TCP sends it again
from another member              to this member's own network, if it is sound (`packets.is_sound`): from the address
                                 of the member that sent it, and for this one's
"""

from p2p.core.cluster.line import Line
from p2p.core.cluster.membership import Membership, Standing
from p2p.core.cluster.packets import IP, MAX_PACKET_BYTES, VNET, Packet, address_of, index_of, is_sound
from p2p.core.cluster.refusal import refusal

_TARGET = slice(VNET.size + 16, VNET.size + 20)
_SOURCE = slice(VNET.size + 12, VNET.size + 16)
_LEAST_BYTES = VNET.size + IP.size
_CHECKED = 2
"""The flag by which a kernel says that it has checked the sum already; others need not believe it."""


class Switch:
    """Decides for the member with this index."""

    def __init__(self, index: int, members: Membership) -> None:
        self.address = address_of(index)
        self._members = members
        self._lines: dict[int, Line] = {}
        self.unsound = 0
        """How many packets of others were not taken."""

    def open(self, index: int) -> Line:
        """The line of a member to which there is a connection now."""
        line = self._lines[index] = Line()
        return line

    def close(self, index: int, line: Line) -> None:
        """Drops what waits in a line, and closes it unless a later one has its place."""
        line.clear()
        if self._lines.get(index) is line:
            del self._lines[index]

    def dispatch(self, packet: bytes, now: float) -> Line | bytes | None:
        """A packet of this member's own network: the line in which it waits now, or the answer that refuses it; None if
        it was dropped.
        """
        if not _LEAST_BYTES <= len(packet) <= MAX_PACKET_BYTES or packet[VNET.size] >> 4 != 4:
            return None
        if packet[_SOURCE] != self.address:
            return None
        index = index_of(packet[_TARGET])
        line = self._lines.get(index)
        if line is not None:
            if packet[0] & _CHECKED:
                packet = bytes((packet[0] & ~_CHECKED,)) + packet[1:]
            line.put(packet, now)
            return line
        if self._members.standing(index) in (Standing.HERE, Standing.AWAY):
            return None
        return refusal(packet)

    def takes(self, sender: int, packet: Packet) -> bool:
        """Whether a packet that a member sent may be given to this member's own network."""
        if is_sound(packet, address_of(sender), self.address):
            return True
        self.unsound += 1
        return False
