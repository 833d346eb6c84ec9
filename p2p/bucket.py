"""A token bucket: the rate limit of uploads and downloads, and of messages."""


class TokenBucket:
    """Lets `rate` units a second through, with bursts of up to `burst`; times in seconds of one monotonic clock.

    A debt is allowed and paid by waiting, so a large piece passes whole and the mean stays right.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Takes `amount`; returns for how many seconds the taker has to wait."""
        self._level = min(self._burst, self._level + (now - self._at) * self.rate) - amount
        self._at = now
        return max(0.0, -self._level / self.rate)

    def try_take(self, amount: float, now: float) -> bool:
        """Takes `amount` if it is there, without debt."""
        self._level = min(self._burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < amount:
            return False
        self._level -= amount
        return True
