"""What the DHT learns about time: how long to wait for answers, and how wrong this machine's clock is."""

from collections import OrderedDict
from statistics import median

SHORTEST_SOFT_S, LONGEST_SOFT_S = 0.1, 0.25
SHORTEST_HARD_S, LONGEST_HARD_S = 0.4, 1.0
FEWEST_OPINIONS = 5
MAX_OPINIONS = 64
BELIEVED_FROM_S = 30.0


class Patience:
    """How many seconds to wait for an answer, estimated from round-trip times as in RFC 6298."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def measured(self, seconds: float) -> None:
        """Records how long the answer to a datagram took that was sent only once."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8

    @property
    def soft(self) -> float:
        """Seconds after which a query is sent again, and other nodes are asked too."""
        if self._mean is None:
            return LONGEST_SOFT_S
        return min(LONGEST_SOFT_S, max(SHORTEST_SOFT_S, self._mean + 4 * self._deviation))

    @property
    def hard(self) -> float:
        """Seconds after which a silent node counts as absent."""
        return min(LONGEST_HARD_S, max(SHORTEST_HARD_S, 4 * self.soft))


class ClockOffset:
    """How far other peers' clocks are ahead of this machine's: the median of one estimate per network prefix.

    Liars would need a majority of the prefixes. Small differences are normal and are ignored.
    """

    def __init__(self) -> None:
        self._opinions: OrderedDict[str, float] = OrderedDict()

    def heard(self, prefix: str, ahead_s: float) -> None:
        """Records that a clock at this prefix is `ahead_s` ahead of this machine's."""
        self._opinions[prefix] = ahead_s
        self._opinions.move_to_end(prefix)
        if len(self._opinions) > MAX_OPINIONS:
            self._opinions.popitem(last=False)

    @property
    def seconds(self) -> float:
        """Seconds to add to this machine's clock."""
        if len(self._opinions) < FEWEST_OPINIONS:
            return 0.0
        ahead = median(self._opinions.values())
        return ahead if abs(ahead) >= BELIEVED_FROM_S else 0.0
