"""Who is there, away and gone, on time that is passed in."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2p.core.cluster.membership import AWAY_AFTER_S, GONE_AFTER_S, WORD_INTERVAL_S, Change, Membership, Standing

EXPECTED, HERE, AWAY, GONE = Standing
GONE_AT = AWAY_AFTER_S + GONE_AFTER_S


@pytest.fixture
def members() -> Membership:
    """Members 1 and 2, of which 1 is there since time 0."""
    members = Membership([1, 2])
    assert members.begin(1, 0, 0.0) == [Change(1, HERE, 0)]
    return members


def test_silence_makes_a_member_away_and_then_gone(members: Membership) -> None:
    assert members.tick(AWAY_AFTER_S - 0.1) == []
    assert members.tick(AWAY_AFTER_S) == [Change(1, AWAY, 0)]
    assert members.tick(GONE_AT - 0.1) == []
    assert members.tick(GONE_AT) == [Change(1, GONE, 0)]
    assert members.tick(GONE_AT + 100) == []


def test_a_loop_that_was_held_up_says_both_at_once(members: Membership) -> None:
    assert members.tick(60.0) == [Change(1, AWAY, 0), Change(1, GONE, 0)]


def test_words_keep_a_member_here(members: Membership) -> None:
    for step in range(1, 20):
        assert members.heard(1, step * WORD_INTERVAL_S) == []
        assert members.tick(step * WORD_INTERVAL_S + 1.9) == []


def test_whoever_is_heard_of_in_time_is_back(members: Membership) -> None:
    members.tick(AWAY_AFTER_S)
    assert members.heard(1, GONE_AT - 0.1) == [Change(1, HERE, 0)]
    members.tick(GONE_AT + AWAY_AFTER_S)
    assert members.begin(1, 0, GONE_AT + AWAY_AFTER_S) == [Change(1, HERE, 0)], "by another connection too"


def test_a_member_that_never_came_is_waited_for(members: Membership) -> None:
    members.heard(1, 1000.0)
    assert members.tick(1000.0) == []
    assert members.missing() == [2]
    assert members.standing(2) is EXPECTED
    assert members.standing(3) is None


def test_whoever_was_given_up_comes_back_in_a_later_epoch(members: Membership) -> None:
    members.tick(GONE_AT)
    assert not members.admits(1, 0)
    assert members.heard(1, GONE_AT) == []
    assert members.standing(1) is GONE
    assert members.begin(1, 1, 20.0) == [Change(1, HERE, 1)]
    assert not members.admits(1, 0)


def test_whoever_was_given_up_by_others_ends_its_old_connections_first(members: Membership) -> None:
    assert members.begin(1, 1, 2.0) == [Change(1, GONE, 0), Change(1, HERE, 1)]


def test_whoever_leaves_is_gone_at_once(members: Membership) -> None:
    assert members.end(1) == [Change(1, GONE, 0)]
    assert members.end(1) == []
    assert members.end(2) == [Change(2, GONE, -1)]
    assert members.end(3) == []
    assert members.admits(2, 0)


def test_members_are_added_as_they_are_found(members: Membership) -> None:
    assert not members.admits(3, 0)
    members.expect(3)
    members.expect(1)
    assert members.admits(3, 0)
    assert members.standing(1) is HERE
    assert list(members) == [1, 2, 3]


LEGAL = {
    (EXPECTED, HERE),
    (HERE, AWAY),
    (AWAY, HERE),
    (AWAY, GONE),
    (EXPECTED, GONE),
    (HERE, GONE),
    (GONE, HERE),
}


class Members(RuleBasedStateMachine):
    """Whatever happens to one member, its moves are legal, and each is told."""

    def __init__(self) -> None:
        super().__init__()
        self.members = Membership([1])
        self.now = 0.0
        self.told: Standing = EXPECTED
        self.epoch = -1

    def tell(self, changes: list[Change]) -> None:
        for change in changes:
            assert (self.told, change.standing) in LEGAL
            if self.told is GONE:
                assert change.epoch > self.epoch
            self.told, self.epoch = change.standing, change.epoch

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 8.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.tell(self.members.tick(self.now))

    @rule(epoch=st.integers(0, 5))
    def begins(self, epoch: int) -> None:
        if self.members.admits(1, epoch):
            self.tell(self.members.begin(1, epoch, self.now))
            assert self.told is HERE

    @precondition(lambda self: self.epoch >= 0)
    @rule()
    def speaks(self) -> None:
        self.tell(self.members.heard(1, self.now))

    @rule()
    def leaves(self) -> None:
        self.tell(self.members.end(1))

    @invariant()
    def what_was_told_is_so(self) -> None:
        assert self.members.standing(1) is self.told
        assert self.members.epoch(1) == self.epoch


TestMembers = Members.TestCase
