"""Back-off after failures: an absent peer is tried again for ever, less and less often.

A peer that was useful in between starts over.
"""

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 60.0


class Backoff:
    """When to try an address again: after 0.5 s, doubling to a minute, plus up to half as much again at random."""

    def __init__(self) -> None:
        self.failures = 0

    def failed(self, chance: float) -> float:
        """Seconds to wait after one more failure; `chance` is uniform in [0, 1)."""
        delay = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return delay * (1 + chance / 2)

    def worked(self) -> None:
        """The address was useful: forget its failures."""
        self.failures = 0
