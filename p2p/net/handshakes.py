"""Who may shake hands, and when: the connections that have not proven yet whose they are.

    enter --> silent             always; if no place is free, the oldest of the network that has most is displaced
    silent --(spoke)--> waiting
    waiting --(next)--> shaking  in its turn
    any --(displaced, leave)--> gone

A handshake costs this peer's processor a millisecond, and whoever says nothing costs nobody a turn. All networks share
one rate, a few at once and then one at a time, so that other tasks have their turns in between; a network has no more
than a rate of its own. Each turn goes to the network that had none for longest, in it to the network that had none for
longest, and so on; of one host, to the connection that spoke first. So a crowd delays others by one turn for each of
its networks at most, and whoever comes for the first time waits for others of that kind alone.

Networks nest as in `p2p.places`. This module does no IO: the time comes as an argument, in seconds.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from math import inf
from typing import Generic, TypeVar

from p2p.bucket import TokenBucket, TokenBuckets
from p2p.crowds import Crowd, Networks
from p2p.places import networks_of

K = TypeVar("K", bound=Hashable)

ALL_PER_S, ALL_BURST = 200.0, 8.0
"""How many handshakes begin per second and at once: they take a fifth of a core."""
PER_S, BURST = 16.0, 128.0
"""The same for a network that most people have to themselves."""
MAX_NETWORKS = 4096
"""For how many networks handshakes are counted at the same time."""
MAX_REMEMBERED = 3 * MAX_NETWORKS
"""How many networks are remembered with their last turns."""


class Handshakes(Generic[K]):
    """At most `most` connections, with the networks that they come from."""

    def __init__(self, most: int, now: float) -> None:
        self._most = most
        self._networks: dict[K, Networks] = {}
        self._crowd: Crowd[K] = Crowd()
        self._waiting: dict[Hashable, dict[Hashable, dict[K, None]]] = {}
        """Those that have spoken, by narrow network and host."""
        self._ready: dict[Hashable, dict[Hashable, None]] = {}
        """The narrow networks in which somebody waits and that may have a turn now, by wide network."""
        self._resting: dict[Hashable, float] = {}
        """The narrow networks that have used up their rate, and until when they have no turn."""
        self._next_at = now
        """Before this, nobody has a turn."""
        # The one after the last token goes at once too, and is paid for by the pause that follows.
        self._all = TokenBucket(ALL_PER_S, ALL_BURST - 1, now)
        self._rates = TokenBuckets(PER_S, BURST - 1, MAX_NETWORKS)
        self._turns = 0
        self._last = _Last()

    def __len__(self) -> int:
        return len(self._networks)

    def enter(self, key: K, host: str) -> K | None:
        """Adds a connection that says nothing yet. Returns the one that it displaces, which is gone."""
        networks = self._networks[key] = networks_of(host)
        self._crowd.add(key, networks)
        if len(self._networks) <= self._most:
            return None
        displaced = self._crowd.oldest_of_most_crowded()
        self.leave(displaced)
        return displaced

    def spoke(self, key: K) -> None:
        """Records that a connection has said what a handshake begins with. Does nothing if it is gone."""
        if key not in self._networks:
            return
        wide, narrow, host = self._networks[key]
        self._waiting.setdefault(narrow, {}).setdefault(host, {})[key] = None
        if narrow not in self._resting:
            self._ready.setdefault(wide, {})[narrow] = None

    def next(self, now: float) -> K | None:
        """The connection that begins its handshake now, if there is one."""
        self._wake(now)
        if not self._ready or now < self._next_at:
            return None
        wide = self._longest_without(self._ready)
        narrow = self._longest_without(self._ready[wide])
        host = self._longest_without(self._waiting[narrow])
        key = next(iter(self._waiting[narrow][host]))
        self._turns += 1
        self._last.record((wide, narrow, host), self._turns)
        self._stop_waiting(key)
        self._next_at = now + self._all.take(1, now)
        rest_s = self._rates.take(str(narrow), 1, now)
        if rest_s:
            self._resting[narrow] = now + rest_s
            self._unready(wide, narrow)
        return key

    def next_at(self) -> float:
        """When `next`, which has just found none, may find one if nobody speaks until then."""
        if self._ready:
            return self._next_at
        return min((until for narrow, until in self._resting.items() if narrow in self._waiting), default=inf)

    def leave(self, key: K) -> None:
        """Forgets a connection, whose handshake is over or which has ended. Does nothing if it is gone."""
        if key in self._networks:
            self._stop_waiting(key)
            self._crowd.remove(key, self._networks.pop(key))

    def _longest_without(self, names: Iterable[Hashable]) -> Hashable:
        return min(names, key=self._last.__getitem__)

    def _wake(self, now: float) -> None:
        """Ends the rests that are over."""
        for narrow in [narrow for narrow, until in self._resting.items() if until <= now]:
            del self._resting[narrow]
            if narrow in self._waiting:
                somebody = next(iter(next(iter(self._waiting[narrow].values()))))
                self._ready.setdefault(self._networks[somebody][0], {})[narrow] = None

    def _stop_waiting(self, key: K) -> None:
        wide, narrow, host = self._networks[key]
        hosts = self._waiting.get(narrow, {})
        if key not in hosts.get(host, {}):
            return
        del hosts[host][key]
        if not hosts[host]:
            del hosts[host]
        if not hosts:
            del self._waiting[narrow]
            self._unready(wide, narrow)

    def _unready(self, wide: Hashable, narrow: Hashable) -> None:
        if narrow in self._ready.get(wide, {}):
            del self._ready[wide][narrow]
            if not self._ready[wide]:
                del self._ready[wide]


class _Last(OrderedDict[Hashable, int]):
    """The number of the last turn of each network; 0 for one that had none, or none for long."""

    def __missing__(self, name: Hashable) -> int:
        return 0

    def record(self, networks: Networks, turn: int) -> None:
        for name in networks:
            self[name] = turn
            self.move_to_end(name)
        while len(self) > MAX_REMEMBERED:
            self.popitem(last=False)
