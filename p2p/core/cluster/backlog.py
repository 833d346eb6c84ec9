"""How much the system may keep that it has not sent yet: what goes out in HORIZON_S, as measured.

A heartbeat waits behind it. In 128 KiB that is 2 ms at 0.5 Gbit/s, and 170 ms at 6 Mbit/s; with little, a fast line
would run dry whenever this process has its turn too late.
"""

LEAST_BYTES, MOST_BYTES = 16 * 1024, 128 * 1024
HORIZON_S = 0.02
PERIOD_S = 0.25
"""For how long there must always have been something to send, for a rate to be told."""


class Backlog:
    """The bound for one connection."""

    __slots__ = ("_busy_since", "_sent", "bytes")

    def __init__(self) -> None:
        self.bytes = MOST_BYTES
        self._busy_since: float | None = None
        self._sent = 0

    def idle(self) -> None:
        """All has been sent that there was: the time until there is more tells nothing."""
        self._busy_since = None

    def sent(self, size: int, now: float) -> bool:
        """So many bytes were taken by the system, and more wait. Returns whether the bound has changed."""
        if self._busy_since is None:
            self._busy_since, self._sent = now, 0
            return False
        self._sent += size
        seconds = now - self._busy_since
        if seconds < PERIOD_S:
            return False
        bound = min(MOST_BYTES, max(LEAST_BYTES, int(self._sent / seconds * HORIZON_S)))
        self._busy_since, self._sent = now, 0
        if self.bytes / 2 < bound < self.bytes * 2:
            return False
        self.bytes = bound
        return True
