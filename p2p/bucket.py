"""Token buckets, which limit the rates of uploads, of downloads, of messages, and of strangers."""

from collections import OrderedDict


class TokenBucket:
    """Lets `rate` units per second through, with bursts of up to `burst`; times are seconds of one monotonic clock.

    A caller may take more than is available and then waits, so a large amount passes whole and the mean rate is kept.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Takes `amount`. Returns how many seconds the caller has to wait."""
        self._level = min(self._burst, self._level + (now - self._at) * self.rate) - amount
        self._at = now
        return max(0.0, -self._level / self.rate)

    def give_back(self, amount: float) -> None:
        """Returns tokens that were taken and not used."""
        self._level = min(self._burst, self._level + amount)

    def fullness(self, now: float) -> float:
        """How full the bucket is: 1 if nothing was taken for a while, 0 or less if callers have to wait."""
        return min(self._burst, self._level + (now - self._at) * self.rate) / self._burst

    def try_take(self, amount: float, now: float) -> bool:
        """Takes `amount` if there are that many tokens now. Returns whether it did."""
        self._level = min(self._burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < amount:
            return False
        self._level -= amount
        return True


class TokenBuckets:
    """Token buckets by name, at most `most`. Those used least recently are dropped first, since they are full again."""

    def __init__(self, rate: float, burst: float, most: int) -> None:
        self.rate, self.burst = rate, burst
        self._most = most
        self._buckets: OrderedDict[str | bytes, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def try_take(self, name: str | bytes, amount: float, now: float) -> bool:
        """Takes `amount` of the name's tokens if they are there. Returns whether it did."""
        return self._bucket(name, now).try_take(amount, now)

    def take(self, name: str | bytes, amount: float, now: float) -> float:
        """Takes `amount` of the name's tokens, which it may owe then. Returns for how many seconds it does."""
        return self._bucket(name, now).take(amount, now)

    def wait(self, name: str | bytes, now: float) -> float:
        """For how many seconds the name still owes tokens; 0 for one that owes none."""
        bucket = self._buckets.get(name)
        return 0.0 if bucket is None else bucket.take(0, now)

    def _bucket(self, name: str | bytes, now: float) -> TokenBucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = TokenBucket(self.rate, self.burst, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket
