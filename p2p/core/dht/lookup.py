"""The iterative lookup of the DHT, as a state machine: which node to ask next, and when the lookup is done.

A candidate is WAITING, then ASKED; it may become STALLED (it has not answered yet, and no longer counts against the
parallelism), and ends ANSWERED or FAILED. Legal moves: WAITING -> ASKED -> STALLED -> ANSWERED | FAILED, and ASKED ->
ANSWERED | FAILED. The lookup is done when the `K` nearest candidates that are neither failed nor stalled have all
answered. Once half of `K` have answered, it does not wait for dead contacts (kademlia's crawlers wait for the slowest
of each round). The more have stalled, the more are asked at once, up to `K`: so those who name a hundred nodes that are
not there cost a lookup seconds, not half a minute.

Against liars: a candidate is a node at an address, so naming a node at a false address hides nothing; a contact named
by others is not in the result until it has answered itself; if of those that a peer has named a few do not answer, and
none does, the lookup drops the others that only such peers have named; and of the nearest, at most two share a prefix.

Several lookups may share `Claims`: then each asks only nodes that none of the others has asked, so their paths share no
node (as in S/Kademlia), and a liar misleads one of them.

kademlia's `NodeHeap` was tried and rejected: it knows a node by its id alone, so a liar who names a real node at a
false address displaces the real one, and it sorts all candidates at every step.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from p2p.core.dht.routing import MAX_PER_PREFIX, Contact, K, point
from p2p.wire.address import Scope

ALPHA = 3
"""How many nodes are asked at once, as long as all answer."""
MAX_AT_ONCE = K
STALLED_PER_MORE = 2
"""One more is asked at once for so many that have stalled."""
MAX_NAMED_IN_VAIN = 4
MAX_CANDIDATES = 400

_Key = tuple[bytes, str, int]
Claims = dict[bytes, "Lookup"]
"""By which of several lookups the node with an id was asked."""


class LookupState(Enum):
    """The state of a node that a lookup may ask; the module docstring shows the transitions."""

    WAITING = auto()
    ASKED = auto()
    STALLED = auto()
    ANSWERED = auto()
    FAILED = auto()


@dataclass(eq=False, slots=True)
class _Candidate:
    contact: Contact
    distance: int
    depth: int
    namers: set[_Key]
    """The contacts that named this candidate; none for a seed."""
    state: LookupState = LookupState.WAITING


class Lookup:
    """One lookup for a target of 20 bytes, starting from the known contacts `seeds`."""

    def __init__(
        self,
        target: bytes,
        own_id: bytes,
        seeds: Iterable[Contact],
        *,
        k: int = K,
        local_exempt: bool = True,
        claims: Claims | None = None,
    ) -> None:
        self.target = target
        self._claims = {} if claims is None else claims
        self._k = k
        self._own_id = own_id
        self._local_exempt = local_exempt
        self._point = point(target)
        self._candidates: dict[_Key, _Candidate] = {}
        self._by_distance: list[_Candidate] = []
        self._in_vain: Counter[_Key] = Counter()
        """For each contact, how many of those that it has named did not answer."""
        self._vouched: set[_Key] = set()
        """The contacts that have named one that did."""
        self.asked = 0
        self.failures = 0
        self.hops = 0
        self._busy = 0
        self._stalls = 0
        self._take(seeds, None)

    def next(self) -> Contact | None:
        """The next contact to ask, which counts as asked from now on; None if no contact should be asked now."""
        if self._busy >= min(MAX_AT_ONCE, ALPHA + self._stalls // STALLED_PER_MORE):
            return None
        for candidate in self._nearest():
            if candidate.state is LookupState.WAITING:
                candidate.state = LookupState.ASKED
                self._claims[candidate.contact.id] = self
                self._busy += 1
                self.asked += 1
                return candidate.contact
        return None

    def stalled(self, contact: Contact) -> None:
        """Records that the contact has not answered in time, but still may."""
        candidate = self._candidates[contact.key]
        if candidate.state is LookupState.ASKED:
            candidate.state = LookupState.STALLED
            self._busy -= 1
            self._stalls += 1

    def answered(self, contact: Contact, named: Iterable[Contact]) -> None:
        """Records that the contact has answered and named others."""
        candidate = self._ended(contact, LookupState.ANSWERED)
        self.hops = max(self.hops, candidate.depth)
        self._vouched.update(candidate.namers)
        self._drop(
            other
            for other in self._by_distance
            if other.contact.id == contact.id and other.state is LookupState.WAITING  # it answered at another address
        )
        self._take(named, candidate)

    def failed(self, contact: Contact) -> None:
        """Records that the contact did not answer, was another node, or sent nonsense."""
        namers = self._ended(contact, LookupState.FAILED).namers
        self.failures += 1
        self._in_vain.update(namers)
        if any(map(self._misleads, namers)):
            self._drop(
                other
                for other in self._by_distance
                if other.state is LookupState.WAITING and other.namers and all(map(self._misleads, other.namers))
            )

    def _misleads(self, namer: _Key) -> bool:
        return self._in_vain[namer] >= MAX_NAMED_IN_VAIN and namer not in self._vouched

    @property
    def done(self) -> bool:
        """Whether asking more nodes would find no nearer ones."""
        answered = [candidate.state is LookupState.ANSWERED for candidate in self._nearest()]
        if not all(answered):
            return False
        return len(answered) >= self._k // 2 or all(
            candidate.state is not LookupState.STALLED for candidate in self._by_distance
        )

    def nearest(self) -> list[Contact]:
        """The nearest contacts that have answered, nearest first."""
        return [candidate.contact for candidate in self._nearest() if candidate.state is LookupState.ANSWERED]

    def unasked(self) -> list[Contact]:
        """The candidates that were never asked, nearest first."""
        return [candidate.contact for candidate in self._by_distance if candidate.state is LookupState.WAITING]

    def state(self, contact: Contact) -> LookupState | None:
        """The state of a candidate; None for a contact that is not a candidate."""
        candidate = self._candidates.get(contact.key)
        return None if candidate is None else candidate.state

    def _nearest(self) -> list[_Candidate]:
        """The `K` nearest candidates that may be there and no other path has: each node once, and few per prefix."""
        found: list[_Candidate] = []
        nodes: set[bytes] = set()
        prefixes: Counter[str] = Counter()
        for candidate in self._by_distance:
            contact = candidate.contact
            if candidate.state in {LookupState.STALLED, LookupState.FAILED} or contact.id in nodes:
                continue
            if self._claims.get(contact.id, self) is not self:
                continue
            if not (self._local_exempt and contact.scope != Scope.GLOBAL):
                if prefixes[contact.prefix] >= MAX_PER_PREFIX:
                    continue
                prefixes[contact.prefix] += 1
            nodes.add(contact.id)
            found.append(candidate)
            if len(found) == self._k:
                break
        return found

    def _ended(self, contact: Contact, state: LookupState) -> _Candidate:
        candidate = self._candidates[contact.key]
        assert candidate.state in {LookupState.ASKED, LookupState.STALLED}, "a contact ends once, after it was asked"
        if candidate.state is LookupState.ASKED:
            self._busy -= 1
        candidate.state = state
        return candidate

    def _take(self, contacts: Iterable[Contact], namer: _Candidate | None) -> None:
        nodes: set[bytes] = set()
        for contact in contacts:
            if contact.id == self._own_id or contact.id in nodes:
                continue  # a namer that gives one node two addresses only makes work
            nodes.add(contact.id)
            known = self._candidates.get(contact.key)
            if known is not None:
                if namer is not None and known.namers:
                    known.namers.add(namer.contact.key)
            elif len(self._candidates) < MAX_CANDIDATES:
                distance = self._point.distance_to(contact)
                depth, by = (1, set()) if namer is None else (namer.depth + 1, {namer.contact.key})
                candidate = self._candidates[contact.key] = _Candidate(contact, distance, depth, by)
                insort(self._by_distance, candidate, key=lambda one: one.distance)

    def _drop(self, candidates: Iterable[_Candidate]) -> None:
        """Forgets waiting candidates; a candidate that is named again is added again."""
        for candidate in list(candidates):
            del self._candidates[candidate.contact.key]
            self._by_distance.remove(candidate)
