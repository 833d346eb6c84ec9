"""Stamps in memory: 32 bytes each, and the same as a list of them."""

from p2p.store.stamps import NOT_HELD, Stamp, Stamps, pack_ctimes, pack_stamps


def test_stamps_are_compact_and_know_which_are_not_held() -> None:
    some = [Stamp(1, 0, 0, 4), NOT_HELD, Stamp(0, 0, 5, 6), Stamp(0, 0, 1 << 56), NOT_HELD, Stamp(1, 2, 3, 0)]
    stamps = Stamps(some)
    assert list(stamps) == some == stamps
    assert stamps[-1] == some[-1]
    assert stamps[1:3] == some[1:3]
    assert list(stamps.not_held()) == [1, 4]
    assert list(Stamps().not_held()) == []
    stamps[1] = some[1] = Stamp(7, 8, 9, 10)
    assert list(stamps.not_held()) == [4]
    assert Stamps.unpack(pack_stamps(some), pack_ctimes(some)) == stamps
    assert (pack_stamps(stamps), pack_ctimes(stamps)) == (pack_stamps(some), pack_ctimes(some))
    assert len(pack_stamps(stamps)) + len(pack_ctimes(stamps)) == 32 * len(some)
