"""The iterative lookup of the DHT, as a state machine: whom to ask next, and when enough is known.

A candidate is WAITING, then ASKED; it may become STALLED (no answer yet, and no longer counted against the
parallelism), and ends ANSWERED or FAILED. Legal moves: WAITING -> ASKED -> STALLED -> ANSWERED | FAILED, and ASKED ->
ANSWERED | FAILED. The lookup is done when the `K` nearest candidates that are neither failed nor stalled have all
answered: where half of `K` have, nobody waits for a dead contact (kademlia's crawlers wait for the slowest of each
round).

Against liars: a contact that others name counts for nothing until it has answered itself; one peer may name only so
many that turn out not to be there before the rest of what it alone named is dropped; and at most two candidates of a
prefix are taken.
"""

from collections import Counter
from collections.abc import Iterable
from enum import Enum, auto

from kademlia.node import NodeHeap

from p2p.core.routing import MOST_OF_A_PREFIX, Contact, K, point
from p2p.wire.address import Scope, scope

ALPHA = 3
"""How many are asked at once."""
MOST_NAMED_IN_VAIN = 4
MOST_CANDIDATES = 400


class State(Enum):
    """Where a candidate stands."""

    WAITING = auto()
    ASKED = auto()
    STALLED = auto()
    ANSWERED = auto()
    FAILED = auto()


class Lookup:
    """One lookup for a target of 20 bytes, from the contacts that are known."""

    def __init__(
        self, target: bytes, own_id: bytes, seeds: Iterable[Contact], *, k: int = K, local_exempt: bool = True
    ) -> None:
        self._k = k
        self._own_id = own_id
        self._local_exempt = local_exempt
        self._point = point(target)
        self._heap = NodeHeap(self._point, k)
        self._states: dict[bytes, State] = {}
        self._namer: dict[bytes, bytes] = {}
        self._in_vain: Counter[bytes] = Counter()
        self._vouched: set[bytes] = set()
        self._prefixes: Counter[str] = Counter()
        self._depth: dict[bytes, int] = {}
        self.asked = 0
        self.failures = 0
        self.hops = 0
        self._busy = 0
        self._take(seeds, None)

    def next(self) -> Contact | None:
        """The next contact to ask, which counts as asked from now on; None while there is none to be asked."""
        if self._busy >= ALPHA:
            return None
        for contact in self._nearest():
            if self._states[contact.id] is State.WAITING:
                self._states[contact.id] = State.ASKED
                self._busy += 1
                self.asked += 1
                return contact
        return None

    def stalled(self, contact: Contact) -> None:
        """The contact lets us wait."""
        if self._states.get(contact.id) is State.ASKED:
            self._states[contact.id] = State.STALLED
            self._busy -= 1

    def answered(self, contact: Contact, named: Iterable[Contact]) -> None:
        """The contact has answered and named others."""
        self._ended(contact, State.ANSWERED)
        self.hops = max(self.hops, self._depth[contact.id])
        if namer := self._namer.get(contact.id):
            self._vouched.add(namer)
        self._take(named, contact)

    def failed(self, contact: Contact) -> None:
        """The contact did not answer, was somebody else, or made no sense."""
        self._ended(contact, State.FAILED)
        self._heap.remove([contact.id])
        self.failures += 1
        namer = self._namer.get(contact.id)
        if namer is None:
            return
        self._in_vain[namer] += 1
        if self._in_vain[namer] >= MOST_NAMED_IN_VAIN and namer not in self._vouched:
            dropped = [node for node, by in self._namer.items() if by == namer and self._states[node] is State.WAITING]
            self._heap.remove(dropped)
            for node in dropped:
                self._states[node] = State.FAILED

    @property
    def done(self) -> bool:
        """Whether asking on would bring nothing nearer."""
        answered = [self._states[contact.id] is State.ANSWERED for contact in self._nearest()]
        return all(answered) and (len(answered) >= self._k // 2 or State.STALLED not in self._states.values())

    def nearest(self) -> list[Contact]:
        """The nearest that have answered, nearest first."""
        return [contact for contact in self._nearest() if self._states[contact.id] is State.ANSWERED]

    def state(self, contact: Contact) -> State | None:
        """Where a candidate stands."""
        return self._states.get(contact.id)

    def _nearest(self) -> list[Contact]:
        found: list[Contact] = []
        for _, contact in sorted(self._heap.heap, key=lambda entry: entry[0]):
            if self._states[contact.id] is not State.STALLED:
                found.append(contact)
                if len(found) == self._k:
                    break
        return found

    def _ended(self, contact: Contact, state: State) -> None:
        before = self._states.get(contact.id)
        assert before in {State.ASKED, State.STALLED}, "a contact ends once, after it was asked"
        if before is State.ASKED:
            self._busy -= 1
        self._states[contact.id] = state

    def _take(self, contacts: Iterable[Contact], namer: Contact | None) -> None:
        new = []
        for contact in contacts:
            if contact.id == self._own_id or contact.id in self._states or len(self._states) >= MOST_CANDIDATES:
                continue
            counted = not (self._local_exempt and scope(contact.ip) != Scope.GLOBAL)
            if counted and namer is not None and self._prefixes[contact.prefix] >= MOST_OF_A_PREFIX:
                continue
            self._prefixes[contact.prefix] += 1
            self._states[contact.id] = State.WAITING
            self._depth[contact.id] = 1 if namer is None else self._depth[namer.id] + 1
            if namer is not None:
                self._namer[contact.id] = namer.id
            new.append((self._point.distance_to(contact), contact))
        # `NodeHeap.push` compares each newcomer with all others; `_states` knows already that they are new.
        self._heap.heap.extend(new)
