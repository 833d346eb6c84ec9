"""Attention: how much work the messages of all connections together may cause, and who waits when they want more.

The unit is that of `pace`: about 20 µs of the event loop. While all together want less than there is, nobody waits.
Otherwise networks share it, as they nest in `p2p.places`: each gets an equal part for each that asks, each network in
it an equal part of that, and each host an equal part of its network's. Whoever wants more than its part owes the rest,
and waits until it has made up for it. So hundreds of connections of a few networks delay only each other, and leave
most of the loop to chunks, this peer's user and everything else. How long a unit really takes depends on the machine,
and on what else it does: so while tasks wake late, there is less, down to a fifth.

This module does no IO: the time comes as an argument, in seconds.
"""

from collections import OrderedDict
from collections.abc import Hashable

from p2p.bucket import TokenBucket
from p2p.crowds import Networks
from p2p.places import networks_of

UNITS_PER_S, BURST = 20_000.0, 4_000.0
"""For all messages together: 40 % of the event loop, if it is otherwise idle."""
LEAST_UNITS_PER_S = UNITS_PER_S / 5
LATE_S = 0.02
"""Tasks that wake later than this show that the loop has too much to do."""
LOOK_INTERVAL_S = 0.1
LESS, MORE = 0.7, 1.05
"""How much less, or more, there is after each look."""
SCARCE_BELOW = 0.5
"""The part of the common burst below which networks have their parts only."""
PART_BURST = 500.0
"""How many units a network, or a host, may be ahead of its part."""
MAX_NETWORKS = 8192
"""For how many networks and hosts debts are remembered; so many are told apart in one second."""


class Attention:
    """What one peer gives to the messages of others."""

    def __init__(self) -> None:
        self._all = TokenBucket(UNITS_PER_S, BURST, 0.0)
        self._parts: OrderedDict[Networks, TokenBucket] = OrderedDict()
        self._latest_s = 0.0
        self._looks_at = 0.0
        self._second = 0
        self._asked, self._asked_before = _Asked(), _Asked()

    def take(self, host: str, units: float, now: float) -> float:
        """Takes what messages of this host cost. Returns how many seconds the host has to wait with the next."""
        networks = networks_of(host)
        self._turn(now)
        self._asked.note(networks)
        self._all.take(units, now)
        if self._all.fullness(now) >= SCARCE_BELOW:
            return 0.0
        wait_s, rate = 0.0, self._all.rate
        for depth in range(len(networks)):
            outer, name = networks[:depth], networks[: depth + 1]
            rate /= max(self._asked.inside(outer), self._asked_before.inside(outer), 1)
            wait_s = max(wait_s, self._part(name, rate, now).take(units, now))
        return wait_s

    def woke(self, late_s: float, now: float) -> None:
        """Records how much later than it should a task woke that had to wait, or that let others have a turn."""
        self._latest_s = max(self._latest_s, late_s)
        if now >= self._looks_at:
            rate = self._all.rate * (LESS if self._latest_s > LATE_S else MORE)
            self._all.rate = min(UNITS_PER_S, max(LEAST_UNITS_PER_S, rate))
            self._latest_s, self._looks_at = 0.0, now + LOOK_INTERVAL_S

    def _turn(self, now: float) -> None:
        """Begins to count again who asks, in each second."""
        second = int(now)
        if second != self._second:
            self._asked_before = self._asked if second == self._second + 1 else _Asked()
            self._asked, self._second = _Asked(), second

    def _part(self, name: Networks, rate: float, now: float) -> TokenBucket:
        part = self._parts.get(name)
        if part is None:
            part = self._parts[name] = TokenBucket(rate, PART_BURST, now)
            if len(self._parts) > MAX_NETWORKS:
                self._parts.popitem(last=False)
        else:
            self._parts.move_to_end(name)
            part.rate = rate
        return part


class _Asked:
    """Which networks asked for anything in one second."""

    def __init__(self) -> None:
        self._inside: dict[Networks, set[Hashable]] = {}
        self._count = 0

    def note(self, networks: Networks) -> None:
        for depth, name in enumerate(networks):
            names = self._inside.setdefault(networks[:depth], set())
            if name not in names and self._count < MAX_NETWORKS:
                names.add(name)
                self._count += 1

    def inside(self, outer: Networks) -> int:
        return len(self._inside.get(outer, ()))
