"""The life of one allocation, the same at the owner and at the member: what may follow what, and when it is over.

    asked -> offered -> preparing -> ready -> leaving -> ended

Every state may become `ended`: by a word of either side, by its user, because the other side was silent, or because a
time has passed. `leaving` is only of a member whose user wants the machine back: it ends after a notice, so that the
owner can move what is there.

Nothing here waits or reads a clock: whoever holds an allocation passes in the time, in seconds of a clock that only
goes on, and asks `due` for what the passing of time has ended.
"""

from enum import Enum

BEAT_S = 2.0
"""How often each side says that it is there."""
SILENCE_S = 15.0
"""A side that is silent for longer has left."""
OFFER_S = 300.0
"""How long a member keeps room for an offer that its owner does not take: it may be looking for more members."""
PREPARING_S = 3600.0
"""How long a member may take to get ready: an environment may come over a slow line."""
NOTICE_S = 30


class State(Enum):
    """Where an allocation is in its life."""

    ASKED = "asked"
    OFFERED = "offered"
    PREPARING = "preparing"
    READY = "ready"
    LEAVING = "leaving"
    ENDED = "ended"


_MOVES = {
    State.ASKED: {State.OFFERED},
    State.OFFERED: {State.PREPARING},
    State.PREPARING: {State.READY, State.LEAVING},
    State.READY: {State.LEAVING},
    State.LEAVING: {State.READY},
    State.ENDED: set[State](),
}


class Allocation:
    """One allocation, of which nothing is decided but whether it goes on."""

    def __init__(self, now: float, seconds: float = 0) -> None:
        """`seconds` is how long it may last from when it is granted; 0: as long as both sides want it."""
        self.state = State.ASKED
        self.reason = ""
        """Why it ended, or is going to."""
        self._since = now
        self._heard = now
        self._seconds = seconds
        self._until = float("inf")
        self._leaves = float("inf")

    @property
    def is_over(self) -> bool:
        return self.state is State.ENDED

    def move(self, state: State, now: float) -> None:
        """Goes on to the next state. Raises ValueError if it does not follow this one."""
        if state not in _MOVES[self.state]:
            raise ValueError(f"an allocation that is {self.state.value} cannot become {state.value}")
        if state is State.PREPARING and self._seconds:
            self._until = now + self._seconds
        self.state, self._since = state, now

    def heard(self, now: float) -> None:
        """The other side has said something."""
        self._heard = now

    def leave(self, reason: str, now: float, notice_s: float = NOTICE_S) -> None:
        """Ends it after a notice; at once if nothing runs in it yet. Who leaves already does so at the earlier time."""
        if self.state in (State.ASKED, State.OFFERED, State.PREPARING) or notice_s <= 0:
            self.end(reason)
        elif self.state is State.READY:
            self.move(State.LEAVING, now)
            self.reason, self._leaves = reason, now + notice_s
        elif self.state is State.LEAVING:
            self._leaves = min(self._leaves, now + notice_s)

    def notice_s(self, now: float) -> float:
        """How long it is still there, if it leaves."""
        return max(self._leaves - now, 0.0)

    def stay(self, now: float) -> None:
        """Takes a notice back, if there was one."""
        if self.state is State.LEAVING:
            self.move(State.READY, now)
            self.reason, self._leaves = "", float("inf")

    def end(self, reason: str) -> None:
        """Ends it now. The first reason is the one that is told."""
        if self.state is not State.ENDED:
            self.state = State.ENDED
            self.reason = self.reason or reason

    def due(self, now: float) -> bool:
        """Ends it if its time has come. Returns whether it is over."""
        silent = now - self._heard
        if self.state is State.OFFERED and now - self._since > OFFER_S:
            self.end("the offer was not taken")
        elif self.state is State.PREPARING and now - self._since > PREPARING_S:
            self.end("it did not become ready in time")
        elif now >= self._leaves:
            self.end("its notice has run out")
        elif now >= self._until:
            self.end("its time is over")
        elif self.state is not State.ENDED and silent > SILENCE_S:
            self.end(f"the other side was silent for {SILENCE_S:.0f} seconds")
        return self.is_over
