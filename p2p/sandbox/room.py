"""Room for guests: so many cores, or so much memory, for all of them together. First come, first served.

A guest has its place until its process is gone. A guest that has nothing to do until something else has happened lends
its place: it is ended as soon as another waits for the room. So whoever waits for room waits only for guests that
compute, which have a time limit.
"""

from collections import deque
from collections.abc import Callable

import trio


class Place:
    """The place of one guest in a room."""

    def __init__(self, room: "Room", size: int) -> None:
        self.size = size
        self._room = room
        self.end: Callable[[], None] | None = None
        """Ends the guest; None while it must not be ended."""
        self.is_ending = False
        """Whether the guest was ended to make room, and its process is not gone yet."""

    def lend(self, end: Callable[[], None]) -> None:
        """Allows that the guest is ended, by calling `end`, when another waits for room."""
        self._room.lent(self, end)

    def use(self) -> None:
        """Takes back what `lend` allowed."""
        self.end = None

    def give_back(self) -> None:
        """Gives the place back: the guest's process is gone."""
        self._room.left(self)


class Room:
    """Room for guests that have `most` together: cores, one each, or if it is `by_memory`, bytes of memory.

    A guest that would not fit even into an empty room is let in when the room is empty.
    """

    def __init__(self, most: int, *, by_memory: bool = False) -> None:
        self._most = most
        self._by_memory = by_memory
        self._places: dict[Place, None] = {}
        """All places; among those that are lent, the one that was used least recently comes first."""
        self._waiting: deque[tuple[Place, trio.Event]] = deque()

    def has_room(self, memory_bytes: int) -> bool:
        """Whether a guest with this much memory would be let in at once."""
        return not self._waiting and self._fits(self._size(memory_bytes), self._places)

    async def take(self, memory_bytes: int) -> Place:
        """Waits for room for a guest with this much memory, and takes it."""
        await trio.lowlevel.checkpoint()
        place, admitted = Place(self, self._size(memory_bytes)), trio.Event()
        self._waiting.append((place, admitted))
        self._admit()
        try:
            await admitted.wait()
        except BaseException:
            if admitted.is_set():
                place.give_back()
            else:
                self._waiting.remove((place, admitted))
                self._admit()
            raise
        return place

    def lent(self, place: Place, end: Callable[[], None]) -> None:
        """See `Place.lend`."""
        if place in self._places:
            del self._places[place]
            self._places[place] = None
            place.end = end
            self._admit()

    def left(self, place: Place) -> None:
        """See `Place.give_back`."""
        del self._places[place]
        self._admit()

    def _size(self, memory_bytes: int) -> int:
        return memory_bytes if self._by_memory else 1

    def _fits(self, size: int, beside: dict[Place, None] | list[Place]) -> bool:
        return not beside or size + sum(place.size for place in beside) <= self._most

    def _admit(self) -> None:
        """Lets in whoever fits, in order, and ends lent guests until there is room for the next."""
        while self._waiting and self._fits(self._waiting[0][0].size, self._places):
            place, admitted = self._waiting.popleft()
            self._places[place] = None
            admitted.set()
        if not self._waiting:
            return
        size = self._waiting[0][0].size
        staying = [place for place in self._places if not place.is_ending]
        ended: list[Callable[[], None]] = []
        for place in list(staying):
            if self._fits(size, staying):
                break
            if place.end is not None:
                staying.remove(place)
                place.is_ending = True
                ended.append(place.end)
                place.end = None
        for end in ended:
            end()
