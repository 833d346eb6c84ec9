"""The states of a fetch as its user sees it, and which moves there are between them. Sans-IO.

    (begun) --> waiting --start--> running --finish--> done
    waiting, running --pause--> paused --finish--> done     it was over before it could be stopped
    running --fail--> failed
    running --stop--> waiting       the peer ended, and a later one of the home goes on with it
    paused, failed --resume--> waiting

A fetch of any state can be removed. `waiting` is a fetch that waits for its turn, or for a node.
"""

from typing import Literal

State = Literal["waiting", "running", "paused", "failed", "done"]
Move = Literal["start", "finish", "pause", "fail", "stop", "resume"]

OPEN: frozenset[State] = frozenset(("waiting", "running", "paused", "failed"))
"""The states of fetches that are not done."""
UNDER_WAY: frozenset[State] = frozenset(("waiting", "running"))

_MOVES: dict[tuple[State, Move], State] = {
    ("waiting", "start"): "running",
    ("running", "finish"): "done",
    ("paused", "finish"): "done",
    ("waiting", "pause"): "paused",
    ("running", "pause"): "paused",
    ("running", "fail"): "failed",
    ("running", "stop"): "waiting",
    ("paused", "resume"): "waiting",
    ("failed", "resume"): "waiting",
}


def after(state: State, move: Move) -> State | None:
    """The state after a move; None if there is no such move from that state."""
    return _MOVES.get((state, move))


def why_not(state: State) -> str:
    """Why a user's move is not possible, as the end of a sentence about a fetch in this state."""
    return "is under way already" if state in UNDER_WAY else f"{'is' if state != 'failed' else 'has'} {state} already"
