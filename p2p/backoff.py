"""Back-off after failures: a peer that does not answer is retried for ever, less and less often.

A success resets the delay.
"""

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 60.0


class Backoff:
    """Delays between tries of one address: 0.5 s, doubling up to a minute, plus up to half of that at random."""

    def __init__(self) -> None:
        self.failures = 0

    def failed(self, chance: float) -> float:
        """Records a failure. Returns how many seconds to wait; `chance` is a random number in [0, 1)."""
        delay = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return delay * (1 + chance / 2)

    def worked(self) -> None:
        """Records a success: forgets the failures before it."""
        self.failures = 0
