"""Room for guests: who waits, in which order, and what becomes of places that are lent."""

import trio
import trio.testing

from p2p.sandbox.room import Place, Room


class Guests:
    """Guests that wait for room in tasks of their own, by name."""

    def __init__(self, room: Room, nursery: trio.Nursery) -> None:
        self._room = room
        self._nursery = nursery
        self.inside: dict[str, Place] = {}
        self.ended: list[str] = []

    async def come(self, name: str, memory: int) -> None:
        async def take() -> None:
            self.inside[name] = await self._room.take(memory)

        self._nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()

    def lend(self, name: str) -> None:
        self.inside[name].lend(lambda: self.ended.append(name))

    async def go(self, name: str) -> None:
        self.inside.pop(name).give_back()
        await trio.testing.wait_all_tasks_blocked()


async def test_room_is_given_in_the_order_of_asking() -> None:
    async with trio.open_nursery() as nursery:
        guests = Guests(Room(10, by_memory=True), nursery)
        for name, memory in (("a", 6), ("b", 4), ("large", 8), ("small", 1)):
            await guests.come(name, memory)
        assert sorted(guests.inside) == ["a", "b"]
        await guests.go("b")
        assert sorted(guests.inside) == ["a"]  # the small one does not overtake
        await guests.go("a")
        assert sorted(guests.inside) == ["large", "small"]


async def test_a_guest_larger_than_the_room_has_it_alone() -> None:
    async with trio.open_nursery() as nursery:
        guests = Guests(Room(10, by_memory=True), nursery)
        await guests.come("huge", 50)
        await guests.come("small", 1)
        assert sorted(guests.inside) == ["huge"]
        await guests.go("huge")
        assert sorted(guests.inside) == ["small"]


async def test_cores_are_counted_whatever_the_memory() -> None:
    async with trio.open_nursery() as nursery:
        room = Room(2)
        guests = Guests(room, nursery)
        for name in "abc":
            await guests.come(name, 1 << 40)
        assert sorted(guests.inside) == ["a", "b"]
        assert not room.has_room(0)
        await guests.go("a")
        assert sorted(guests.inside) == ["b", "c"]


async def test_lent_places_are_taken_back_from_those_idle_for_longest() -> None:
    async with trio.open_nursery() as nursery:
        guests = Guests(Room(3, by_memory=True), nursery)
        for name in "abc":
            await guests.come(name, 1)
        for name in "bca":
            guests.lend(name)
        guests.inside["c"].use()
        assert not guests.ended  # as long as nobody waits
        await guests.come("two", 2)
        assert guests.ended == ["b", "a"]
        await guests.go("b")
        assert "two" not in guests.inside  # the process of the other is not gone yet
        await guests.go("a")
        assert sorted(guests.inside) == ["c", "two"]
        assert guests.ended == ["b", "a"]


async def test_who_waits_gets_the_next_place_that_is_lent() -> None:
    async with trio.open_nursery() as nursery:
        guests = Guests(Room(1), nursery)
        await guests.come("busy", 0)
        await guests.come("next", 0)
        assert not guests.ended
        guests.lend("busy")
        assert guests.ended == ["busy"]
        await guests.go("busy")
        assert sorted(guests.inside) == ["next"]


async def test_whoever_gives_up_waiting_holds_nothing_up() -> None:
    async with trio.open_nursery() as nursery:
        room = Room(1)
        guests = Guests(room, nursery)
        await guests.come("first", 0)
        with trio.move_on_after(0):
            await room.take(0)
        await guests.come("second", 0)
        await guests.go("first")
        assert sorted(guests.inside) == ["second"]
        await guests.go("second")
        assert room.has_room(0)
