"""Who has room in the tracker's index. Networks share it (`p2p.places.Seats`), block by block.

A live peer has a block, and more if it has many shares or long names. A peer that finds no block free displaces one of
the network that has most, as a whole, if that has more than its own would. So a few addresses that announce whatever
they may, under as many identities, leave room for everybody else.
"""

from p2p.ids import PeerId
from p2p.places import Seats
from tracker.limits import Limits

PART = 7 / 8
"""How much of what a tracker stores is in blocks; the rest is for what is still to be swept of peers that are gone."""


class Room:
    """As many blocks as a tracker may have peers; together they hold what it may store."""

    def __init__(self, limits: Limits) -> None:
        self._rows_per_block = max(1, int(PART * limits.rows / limits.peers))
        self._text_per_block = max(1, int(PART * limits.text / limits.peers))
        self._seats: Seats[tuple[PeerId, int]] = Seats("blocks of an index", limits.peers)
        """A peer with the number of each of its blocks."""
        self._blocks: dict[PeerId, int] = {}

    def grow(self, peer: PeerId, host: str, rows: int, text: int) -> tuple[bool, list[PeerId]]:
        """Makes room for a peer to have so many shares in the database, with so many bytes of names.

        Returns whether there is as much, and the peers that have lost theirs.
        """
        displaced: list[PeerId] = []
        for number in range(self._blocks.get(peer, 0), self._needed(rows, text)):
            entry = self._seats.enter((peer, number), host)
            if not entry.admitted:
                return False, displaced
            self._blocks[peer] = number + 1
            if entry.displaced is not None:
                other, _ = entry.displaced
                self.leave(other)
                displaced.append(other)
        return True, displaced

    def shrink(self, peer: PeerId, rows: int, text: int) -> None:
        """Frees what a peer does not need that has no more than this."""
        self._cut(peer, self._needed(rows, text))

    def leave(self, peer: PeerId) -> None:
        """Frees all that a peer has; does nothing if it has nothing."""
        self._cut(peer, 0)

    def _cut(self, peer: PeerId, most: int) -> None:
        blocks = self._blocks.pop(peer, 0)
        for number in range(most, blocks):
            self._seats.leave((peer, number))
        if kept := min(most, blocks):
            self._blocks[peer] = kept

    def _needed(self, rows: int, text: int) -> int:
        return max(1, -(-rows // self._rows_per_block), -(-text // self._text_per_block))
