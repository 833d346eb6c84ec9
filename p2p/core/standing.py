"""What a peer's past behaviour means for its future: back-off after failures, a ban after repeated bad data.

An absent peer is tried again for ever, ever more seldom; one that was useful in between starts over. One bad chunk
ends an exchange; a second one within the memory bans the peer, for twice as long each time.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 60.0
FIRST_BAN_S = 600.0
MEMORY_S = 6 * 3600.0
MAX_REMEMBERED = 4096


class Backoff:
    """When to try one address again: 0.5 s doubling to a minute, each with up to half as much again at random."""

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


class Standing(Generic[Key]):
    """Strikes and bans by peer; bounded, the oldest forgotten first."""

    def __init__(self) -> None:
        self._strikes: dict[Key, tuple[int, float]] = {}

    def strike(self, peer: Key, now: float) -> float:
        """One more proven fault (bad data). Returns until when the peer is banned; not at all for the first."""
        remembered_from = self.banned_until(peer)  # a ban may outlast the memory, and is not shortened by a strike
        count, at = self._strikes.pop(peer, (0, now))
        if now - max(at, remembered_from) > MEMORY_S:
            count = 0
        self._strikes[peer] = (count + 1, now)
        if len(self._strikes) > MAX_REMEMBERED:
            del self._strikes[next(iter(self._strikes))]
        return self.banned_until(peer)

    def banned_until(self, peer: Key) -> float:
        """The end of the peer's ban; in the past or -inf when it is not banned."""
        count, at = self._strikes.get(peer, (0, float("-inf")))
        return at + FIRST_BAN_S * 2.0 ** min(count - 2, 8) if count >= 2 else float("-inf")
