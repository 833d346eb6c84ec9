"""Bans of peers that sent bad data.

One bad chunk ends an exchange. A second one, while the first is remembered, bans the peer; each further ban is twice as
long as the one before.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_BAN_S = 600.0
MEMORY_S = 6 * 3600.0
MAX_REMEMBERED = 4096


class Bans(Generic[Key]):
    """The strikes and bans of peers. Their number is bounded; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._strikes: dict[Key, tuple[int, float]] = {}

    def strike(self, peer: Key, now: float) -> float:
        """Records one more proven fault (bad data). Returns when the peer's ban ends; the first fault does not ban."""
        remembered_from = self.banned_until(peer)  # a strike must not shorten a ban that outlasts the strikes before it
        count, at = self._strikes.pop(peer, (0, now))
        if now - max(at, remembered_from) > MEMORY_S:
            count = 0
        self._strikes[peer] = (count + 1, now)
        if len(self._strikes) > MAX_REMEMBERED:
            del self._strikes[next(iter(self._strikes))]
        return self.banned_until(peer)

    def banned_until(self, peer: Key) -> float:
        """When the peer's ban ends: a time in the past, or -inf, if the peer is not banned."""
        count, at = self._strikes.get(peer, (0, float("-inf")))
        return at + FIRST_BAN_S * 2.0 ** min(count - 2, 8) if count >= 2 else float("-inf")
