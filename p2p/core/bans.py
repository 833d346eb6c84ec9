"""Bans: what a peer's bad data means for its future.

One bad chunk ends an exchange; a second one within the memory bans the peer, for twice as long each time.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_BAN_S = 600.0
MEMORY_S = 6 * 3600.0
MAX_REMEMBERED = 4096


class Bans(Generic[Key]):
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
