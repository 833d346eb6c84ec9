"""Upload slots: decides, fairly, which downloaders are served now and which wait.

`round_robin` decides whose turn is next, among those whose network holds the fewest slots (`p2p.places.Seats`). A
slot is held for a quantum of time, and is then given up at the next chunk boundary if somebody waits whose network
holds no more. It is lost within a chunk, whatever its holder reads, to whoever waits and has fewer in its network, or
once its holder has had `MAX_QUANTA` turns, or has had one and reads slowly. If those served leave most of the upload
limit unused, because they read slowly or not at all, one more is served.

Whoever has lost its slot reads on until it has the frame that was on its way, which is in this peer's memory. Networks
share the room for that too.

    out --ask--> granted --leave--> out
    out --ask--> waiting --(a slot falls free, claim)--> granted
                 waiting --leave--> out
                 granted --(lost to one that claims it)--> reads on --leave--> out
                                                           reads on --(others need the room: `to_end`)
"""

from collections.abc import Hashable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

from p2p.places import Seats, network_of
from p2p.round_robin import RoundRobin

Key = TypeVar("Key", bound=Hashable)

MAX_QUANTA = 6.0
MAX_UNREAD = 64
"""How many may read on after they have lost their slots."""
LEAST_TURN_S = 0.1
"""How long a holder has its slot at least, even if its network holds more than others."""
_SLOW = 0.5
"""A holder is slow if it takes less than this part of what the holders take on average."""


@dataclass
class _Turn:
    """One holder's turn: where it is, since when it holds its slot, and how many bytes it has taken."""

    host: str
    since: float
    taken: int = 0


class SlotQueue(Generic[Key]):
    """`capacity` slots of `quantum_s` seconds each, and the keys that hold or await one. A key is one connection.

    `most` is how many `widen` may serve at a time. Times are seconds of one monotonic clock.
    """

    def __init__(self, capacity: int, quantum_s: float, most: int = 0) -> None:
        self._capacity = capacity
        self._quantum_s = quantum_s
        self._granted: Seats[Key] = Seats("upload slots", max(capacity, most))
        self._turns: dict[Key, _Turn] = {}
        self._waiting: RoundRobin[Key] = RoundRobin()
        self._hosts: dict[Key, str] = {}
        """Where those that wait are."""
        self._unread: Seats[Key] = Seats("unread frames", MAX_UNREAD)
        self._to_end: list[Key] = []

    def resize(self, capacity: int, most: int, now: float) -> list[Key]:
        """Changes how many are served at a time. Returns the keys that get a slot because of this.

        Whoever is served beyond the new number ends its turn.
        """
        self._capacity = capacity
        self._granted.most = max(capacity, most, len(self._turns))
        return self._fill(now)

    def ask(self, key: Key, host: str, identity: bytes, now: float) -> bool:
        """Asks for a slot. Returns whether the key has one now; otherwise it waits for one."""
        if key in self._turns:
            return True
        if len(self._turns) < self._capacity and not self._waiting:
            self._grant(key, host, now)
            return True
        self._unread.leave(key)
        self._hosts[key] = host
        self._waiting.add(key, network_of(host), identity)
        return False

    def claim(self, key: Key, now: float) -> bool:
        """Gives one that waits the slot of a holder that must make room for it, if any. Returns whether it has one."""
        if key not in self._hosts:
            return key in self._turns
        victim = self._debtor(key, now)
        if victim is None:
            return False
        host = self._turns[victim].host
        self._release(victim)
        self._serve(key, now)
        entry = self._unread.enter(victim, host)
        if not entry.admitted:
            self._to_end.append(victim)
        elif entry.displaced is not None:
            self._to_end.append(entry.displaced)
        return True

    def claim_in(self, key: Key, now: float) -> float:
        """In how many seconds one that waits may have the slot of a network that holds more; infinitely many: never."""
        rivals = self._granted.rivals(self._hosts[key]) if key in self._hosts else []
        return min((max(0.0, self._turns[other].since + LEAST_TURN_S - now) for other in rivals), default=inf)

    def to_end(self) -> list[Key]:
        """Those that may not read on any more, because others need the room; each is returned once."""
        to_end, self._to_end = self._to_end, []
        return to_end

    def took(self, key: Key, size: int) -> None:
        """Counts bytes that a holder has taken."""
        if (turn := self._turns.get(key)) is not None:
            turn.taken += size

    def leave(self, key: Key, now: float) -> list[Key]:
        """Ends the key's hold of, or wait for, a slot. Returns the keys that get a slot because of this."""
        if key in self._turns:
            self._release(key)
        else:
            self._unread.leave(key)
            self._waiting.drop(key)
            self._hosts.pop(key, None)
        return self._fill(now)

    def _fill(self, now: float) -> list[Key]:
        granted = []
        while self._waiting and len(self._turns) < self._capacity:
            granted.append(self._serve_next(now))
        return granted

    def widen(self, now: float) -> list[Key]:
        """Serves one more than `capacity`, since those served do not use what there is. Returns whom, if anybody."""
        if not self._waiting or len(self._turns) >= self._granted.most:
            return []
        return [self._serve_next(now)]

    def must_yield(self, key: Key, now: float, *, within_chunk: bool = False) -> bool:
        """Whether this holder of a slot has lost it, or has used up its time and somebody waits who comes first."""
        turn = self._turns.get(key)
        if turn is None:
            return True
        if not self._waiting or now < turn.since + self._quantum_s:
            return False
        if within_chunk and not self._is_overdue(turn, now):
            return False
        return any(self._comes_before(other, key) for other in self._waiting.heads())

    def waiting(self) -> list[Key]:
        """The waiting keys in the order in which they would be served."""
        return self._waiting.order()

    def _debtor(self, key: Key, now: float) -> Key | None:
        """Whose slot one that waits may have."""
        rivals = [
            other for other in self._granted.rivals(self._hosts[key]) if now >= self._turns[other].since + LEAST_TURN_S
        ]
        if rivals:
            return min(rivals, key=lambda other: self._turns[other].since)
        if key != self._next():
            return None
        overdue = [
            other
            for other, turn in self._turns.items()
            if self._is_overdue(turn, now) and self._comes_before(key, other)
        ]
        return min(overdue, key=lambda other: self._turns[other].since, default=None)

    def _comes_before(self, key: Key, holder: Key) -> bool:
        """Whether one that waits may follow a holder whose time is up: its network would hold no more slots."""
        share = self._granted.share
        return share(self._hosts[key], instead_of=holder) <= share(self._turns[holder].host, instead_of=holder)

    def _next(self) -> Key:
        """The one whose turn it is, of those whose networks hold the fewest slots."""
        return min(self._waiting.heads(), key=lambda other: self._granted.share(self._hosts[other]))

    def _is_overdue(self, turn: _Turn, now: float) -> bool:
        """Whether a holder must stop within a chunk."""
        if now < turn.since + self._quantum_s:
            return False
        if now >= turn.since + self._quantum_s * MAX_QUANTA:
            return True
        rates = [self._rate(other, now) for other in self._turns.values()]
        return self._rate(turn, now) < _SLOW * sum(rates) / len(rates)

    def _rate(self, turn: _Turn, now: float) -> float:
        return turn.taken / max(now - turn.since, LEAST_TURN_S)

    def _grant(self, key: Key, host: str, now: float) -> None:
        self._granted.enter(key, host)
        self._turns[key] = _Turn(host, now)

    def _release(self, key: Key) -> None:
        self._granted.leave(key)
        del self._turns[key]

    def _serve(self, key: Key, now: float) -> None:
        self._waiting.serve(key)
        self._grant(key, self._hosts.pop(key), now)

    def _serve_next(self, now: float) -> Key:
        key = self._next()
        self._serve(key, now)
        return key
