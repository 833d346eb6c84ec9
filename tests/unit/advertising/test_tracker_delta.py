"""Announcing: whatever a tracker loses, refuses or forgets, it ends up knowing what is offered."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2p.advertising.inventory import InventoryEntry
from p2p.advertising.tracker_delta import Told, TrackerDelta
from p2p.ids import ShareId
from p2p.wire.records import WHOLE
from p2p.wire.tracker import (
    MAX_ANNOUNCE_BYTES,
    MAX_SHARES_PER_ANNOUNCE,
    Content,
    encode,
    key_text,
    provider_key,
)

URL, NETWORK = "http://127.0.0.1:8000", "test"


def offered(number: int, *, listed: bool = True, held: bytes = WHOLE, contents: int = 0) -> InventoryEntry:
    files = tuple(Content(f"{'x' * 900}{index}", index) for index in range(contents))
    return InventoryEntry(ShareId(number.to_bytes(32, "big")), f"share {number}", number, 1, listed, held, files)


class Announcing(RuleBasedStateMachine):
    """A tracker that may forget everything at any moment; answers that may get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.difference = TrackerDelta()
        self.sequence = 0
        self.told: dict[str, Told] = {}
        self.wanted: list[InventoryEntry] = []
        self.clock = 1000

    @rule(
        numbers=st.sets(st.integers(1, 30), max_size=12), listed=st.booleans(), held=st.sampled_from([WHOLE, bytes(8)])
    )
    def offer(self, numbers: set[int], listed: bool, held: bytes) -> None:
        self.wanted = [offered(number, listed=listed, held=held) for number in numbers]
        self.difference.want(self.wanted)

    @rule(lost=st.booleans())
    def announce(self, lost: bool) -> None:
        self.clock += 1
        announce, change = self.difference.step(URL, NETWORK, 1, self.clock)
        if announce.sequence <= self.sequence or (not announce.reset and announce.previous != self.sequence):
            self.difference.conflict(self.sequence)
            return
        if announce.reset:
            self.told = {}
        for key, told in change.items():
            if told is None:
                self.told.pop(key)
                assert key in announce.drop
            else:
                self.told[key] = told
                assert told in announce.add or told in announce.provide
        self.sequence = announce.sequence
        if not lost:
            self.difference.taken(announce, change)

    @rule()
    def forget(self) -> None:
        """The tracker loses its database."""
        self.sequence, self.told = 0, {}

    @rule()
    def clock_goes_back(self) -> None:
        self.clock -= 500

    @invariant()
    def it_is_never_done_too_early(self) -> None:
        for _ in range(4):
            self.announce(lost=False)
        assert not self.difference.is_pending
        assert set(self.told) == {key_text(provider_key(one.share)) for one in self.wanted}
        assert all(
            told.whole == one.whole
            for one in self.wanted
            for key, told in self.told.items()
            if key == key_text(provider_key(one.share))
        )


Announcing.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestAnnouncing = Announcing.TestCase


def test_many_shares_take_several_announces_within_bounds() -> None:
    difference = TrackerDelta()
    difference.want([offered(number, contents=50) for number in range(1, 201)] + [offered(n) for n in range(300, 3300)])
    steps = 0
    while difference.is_pending:
        announce, change = difference.step(URL, NETWORK, 1, 1000 + steps)
        assert 0 < len(change) <= MAX_SHARES_PER_ANNOUNCE
        assert len(encode(announce)) <= MAX_ANNOUNCE_BYTES
        assert announce.reset == (steps == 0)
        difference.taken(announce, change)
        steps += 1
    assert 4 <= steps < 200


def test_a_peer_that_was_started_anew_is_not_behind_itself() -> None:
    first, second = TrackerDelta(), TrackerDelta()
    before, _ = first.step(URL, NETWORK, 1, 5000)
    after, _ = second.step(URL, NETWORK, 1, 5001)
    assert after.sequence > before.sequence
    assert after.reset


def test_an_unlisted_share_is_announced_by_its_key_alone() -> None:
    difference = TrackerDelta()
    difference.want([offered(7, listed=False)])
    announce, _ = difference.step(URL, NETWORK, 1, 1)
    assert not announce.add
    assert [one.key for one in announce.provide] == [key_text(provider_key(ShareId((7).to_bytes(32, "big"))))]
    assert b"share 7" not in encode(announce)
