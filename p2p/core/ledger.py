"""The cores, memory and disk of this machine that are for others, and who has how much: one book for all kinds."""

from collections.abc import Hashable
from typing import NamedTuple


class Room(NamedTuple):
    """Cores, and bytes of memory and of disk."""

    cores: int
    memory: int
    disk: int

    def holds(self, other: "Room") -> bool:
        """Whether the other is no larger in anything."""
        return all(own >= its for own, its in zip(self, other, strict=True))

    def __sub__(self, other: "Room") -> "Room":
        """What is left without the other, never less than nothing."""
        return Room(*(max(own - its, 0) for own, its in zip(self, other, strict=True)))


class Ledger:
    """Divides `total` among holders, each of which has what it was given until it gives it back."""

    def __init__(self, total: Room) -> None:
        self.total = total
        self._held: dict[Hashable, Room] = {}

    @property
    def free(self) -> Room:
        """What nobody holds."""
        left = self.total
        for held in self._held.values():
            left -= held
        return left

    def held_by_others(self, holder: Hashable) -> Room:
        """What all but this holder have."""
        others = [room for key, room in self._held.items() if key != holder]
        return Room(*map(sum, zip(*others, strict=True))) if others else Room(0, 0, 0)

    def take(self, holder: Hashable, room: Room) -> bool:
        """Gives a holder this room instead of what it had. Returns False, with no change, if there is too little."""
        if not (self.total - self.held_by_others(holder)).holds(room):
            return False
        self._held[holder] = room
        return True

    def give_back(self, holder: Hashable) -> None:
        """Frees what the holder has, if anything."""
        self._held.pop(holder, None)
