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


def test_a_holder_may_change_what_it_has_within_what_others_leave() -> None:
    ledger = Ledger(MACHINE)
    assert ledger.take("a", Room(1, 1, 1))
    assert ledger.take("b", Room(1, 1, 1))
    assert ledger.take("a", Room(3, 999, 499))
    assert not ledger.take("a", Room(4, 1, 1))
    assert ledger.free == Room(0, 0, 0)


rooms = st.builds(Room, *3 * [st.integers(0, 6)])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | rooms), max_size=20))
def test_all_together_never_have_more_than_there_is(steps: list[tuple[str, Room | None]]) -> None:
    ledger, held = Ledger(Room(6, 6, 6)), dict[str, Room]()
    for who, room in steps:
        if room is None:
            ledger.give_back(who)
            held.pop(who, None)
        elif ledger.take(who, room):
            held[who] = room
        assert ledger.free == Room(6, 6, 6) - Room(*map(sum, zip(*held.values(), strict=True)) if held else (0, 0, 0))
        assert all(sum(room[at] for room in held.values()) <= 6 for at in range(3))
