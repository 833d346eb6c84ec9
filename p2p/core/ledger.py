"""The cores, memory and disk of this machine that are for others, and who has how much: one book for all kinds."""

from collections.abc import Callable, Hashable
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


NOTHING = Room(0, 0, 0)


class Ledger:
    """Divides `total` among holders, each of which has what it was given until it gives it back."""

    def __init__(self, total: Room, guests: Callable[[], Room] = lambda: NOTHING) -> None:
        """`guests` says what jobs have now: it changes with each unit."""
        self.total = total
        self.guests = guests
        self._held: dict[Hashable, Room] = {}

    @property
    def held(self) -> Room:
        """What holders have together, without guests."""
        return Room(*map(sum, zip(NOTHING, *self._held.values(), strict=True)))

    @property
    def free(self) -> Room:
        """What nobody has."""
        return self.total - self.held - self.guests()

    def take(self, holder: Hashable, room: Room) -> bool:
        """Gives this room to a holder that has none. Returns False if there is too little."""
        assert holder not in self._held
        if not self.free.holds(room):
            return False
        self._held[holder] = room
        return True

    def give_back(self, holder: Hashable) -> None:
        """Frees what the holder has, if anything."""
        self._held.pop(holder, None)
