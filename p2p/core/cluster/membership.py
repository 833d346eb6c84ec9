"""Who is there in a cluster's network, as one member sees it. Engines are slow to notice; a peer knows sooner.

Every member hears from every other at least every WORD_INTERVAL_S. One that is silent may be back in a moment, so what
is sent to it is held for a while; then it is gone for good, and its connections end at once.

    expected --begin--> here            its packet connection is there, for the first time
    here --AWAY_AFTER_S of silence--> away
    away --heard, begin--> here
    away --GONE_AFTER_S more--> gone
    expected, here, away --end--> gone  its allocation has ended
    here, away --begin, of a later epoch--> gone, here      it was given up by another member, and is back
    gone --begin, of a later epoch--> here

Nothing else is legal: whoever was given up comes back in a later epoch, with a new sandbox, since the connections that
its programs had are no more. A member that dials another and is told that it is gone there (`admits` is false at either
end) is told so by nobody else: it ends its programs, and begins again. Each change is returned to the caller, who tells
the owner's user; for `gone` it also refuses what is sent to the member, and ends the connections with it.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

WORD_INTERVAL_S = 2.0
AWAY_AFTER_S = 5.0
GONE_AFTER_S = 3.0


class Standing(Enum):
    """Where another member is."""

    EXPECTED = "expected"
    HERE = "here"
    AWAY = "away"
    GONE = "gone"


class Change(NamedTuple):
    """A member's new standing, in its present epoch; -1 if it has never begun."""

    member: int
    standing: Standing
    epoch: int


class _Other:
    __slots__ = ("epoch", "heard_at", "standing")

    def __init__(self) -> None:
        self.standing = Standing.EXPECTED
        self.epoch = -1
        self.heard_at = 0.0


class Membership:
    """The standing of the other members, by index. Times are seconds of one monotonic clock."""

    def __init__(self, others: Iterable[int] = ()) -> None:
        self._others = {index: _Other() for index in others}

    def __iter__(self) -> Iterator[int]:
        return iter(self._others)

    def expect(self, index: int) -> None:
        """Adds a member that is to come. One that is known stays as it is."""
        self._others.setdefault(index, _Other())

    def standing(self, index: int) -> Standing | None:
        """Where a member is; None if there is no such member."""
        other = self._others.get(index)
        return other.standing if other else None

    def epoch(self, index: int) -> int:
        """The member's present epoch; -1 if it has never begun."""
        return self._others[index].epoch

    def missing(self) -> list[int]:
        """The members that are not here."""
        return [index for index, other in self._others.items() if other.standing is not Standing.HERE]

    def admits(self, index: int, epoch: int) -> bool:
        """Whether a packet connection of this member and epoch may begin."""
        other = self._others.get(index)
        if other is None:
            return False
        return epoch > other.epoch or (epoch == other.epoch and other.standing is not Standing.GONE)

    def begin(self, index: int, epoch: int, now: float) -> list[Change]:
        """A packet connection with a member begins, which was admitted."""
        assert self.admits(index, epoch)
        other, changes = self._others[index], []
        if epoch > other.epoch and other.standing in (Standing.HERE, Standing.AWAY):
            changes.append(Change(index, Standing.GONE, other.epoch))
            other.standing = Standing.GONE
        other.heard_at, other.epoch = now, epoch
        if other.standing is not Standing.HERE:
            changes.append(self._become(index, Standing.HERE))
        return changes

    def heard(self, index: int, now: float) -> list[Change]:
        """Something has come from a member, over its packet connection. From one that is gone, it is of no use."""
        other = self._others[index]
        other.heard_at = now
        return [self._become(index, Standing.HERE)] if other.standing is Standing.AWAY else []

    def end(self, index: int) -> list[Change]:
        """A member has left, and does not come back in this epoch."""
        if self.standing(index) in (None, Standing.GONE):
            return []
        return [self._become(index, Standing.GONE)]

    def tick(self, now: float) -> list[Change]:
        """What the passing of time has changed."""
        changes = []
        for index, other in self._others.items():
            silent_s = now - other.heard_at
            if other.standing is Standing.HERE and silent_s >= AWAY_AFTER_S:
                changes.append(self._become(index, Standing.AWAY))
            if other.standing is Standing.AWAY and silent_s >= AWAY_AFTER_S + GONE_AFTER_S:
                changes.append(self._become(index, Standing.GONE))
        return changes

    def _become(self, index: int, standing: Standing) -> Change:
        other = self._others[index]
        other.standing = standing
        return Change(index, standing, other.epoch)
