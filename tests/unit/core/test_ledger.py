"""The book of what is lent: what it gives, and that it never gives more than there is."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.ledger import Ledger, Room

MACHINE = Room(4, 1000, 500)


def test_what_one_has_the_next_cannot_have() -> None:
    ledger = Ledger(MACHINE)
    assert ledger.take("a", Room(3, 900, 100))
    assert not ledger.take("b", Room(1, 200, 100))
    assert ledger.free == Room(1, 100, 400)
    ledger.give_back("a")
    assert ledger.take("b", Room(1, 200, 100))


def test_what_guests_have_is_taken_as_long_as_they_have_it() -> None:
    guests = Room(2, 100, 0)
    ledger = Ledger(MACHINE, lambda: guests)
    assert not ledger.take("a", Room(3, 1, 1))
    assert ledger.take("a", Room(2, 1, 1))
    guests = Room(0, 0, 0)
    assert ledger.free == Room(2, 999, 499)


rooms = st.builds(Room, *3 * [st.integers(0, 6)])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | rooms), max_size=20))
def test_all_together_never_have_more_than_there_is(steps: list[tuple[str, Room | None]]) -> None:
    ledger, held = Ledger(Room(6, 6, 6)), dict[str, Room]()
    for who, room in steps:
        if room is None or who in held:
            ledger.give_back(who)
            held.pop(who, None)
        elif ledger.take(who, room):
            held[who] = room
        assert ledger.free == Room(6, 6, 6) - Room(*map(sum, zip(*held.values(), strict=True)) if held else (0, 0, 0))
        assert all(sum(room[at] for room in held.values()) <= 6 for at in range(3))
