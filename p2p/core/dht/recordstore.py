"""The records that this peer keeps for the DHT, by key, and who keeps a place among them.

A key may have many records, but only the one with the highest sequence for each publisher and kind. Expiry times are
never extended. Every operation takes the same short time, however many records are kept. Times are arguments, in
seconds since 1970.

The number of records is bounded: in total, and per key, publisher and network. When a key or the store is full, the
networks share it: a newcomer displaces a record of the most crowded network, unless its own is as crowded; so however
many identities a few networks have, the record of another gets in, and none of theirs displaces it. Between networks
that are equally crowded, the older half of a key's records stays, and of the others those whose publishers are nearest
to the key; a full store keeps the keys nearest to its node, and displaces only the last that came. A network that has
as many records as it may shares them in the same way among its hosts.

`p2p.places` is not used here. What a record is good for does not show: to be read is free, so a flood would have its
records read; and a newcomer on trial would have to displace records that are good for hours.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from itertools import chain

import msgspec

from p2p.core.dht.origins import Origin, Shuffle, in_turns, origin_of
from p2p.crowds import Crowd, Networks
from p2p.errors import Refused
from p2p.ids import H, PeerId
from p2p.places import NARROW
from p2p.wire.records import Record, RecordKind

MAX_PER_KEY = 64
MAX_RECORDS = 16384
MAX_PER_PUBLISHER = 256
MAX_PER_PREFIX = 512
MAX_POINTERS_PER_PREFIX = 128
"""The most mutable links' records of one prefix: they stay for 30 days, and anybody may store them."""
MAX_PER_KEY_AND_PREFIX = 8
"""The most records under a key from one prefix. Identities are free: without this, one host could fill a key alone."""
EXPIRED_AT_ONCE = 64
LAST_COME = 16
"""From how many of the most crowded network the one is chosen that a full store displaces."""

FULL = "full"
"""The reason of a refusal that sends a publisher to the next shard."""
QUOTA = "quota"
NO_ROOM = "no room"
WITHOUT_ROOM = frozenset({FULL, QUOTA, NO_ROOM})
"""The reasons for which a node has no place for a record that is right."""


class _Kept(msgspec.Struct, frozen=True, gc=False):
    sequence: int
    expires: int
    raw: bytes
    origin: Origin
    number: int
    """Counts up with each newcomer, and stays when the record is renewed."""
    distance: int
    """How far the publisher is from the key."""


_Slot = tuple[PeerId, int]
"""A record's publisher and kind, in a form that costs the garbage collector nothing."""
_Place = tuple[bytes, _Slot]


class RecordStore:
    """The records that the node with this id keeps for others; `wire.records.read` has checked each of them."""

    def __init__(self, node_id: bytes) -> None:
        self._node = int.from_bytes(node_id, "big")
        self._keys: dict[bytes, dict[_Slot, _Kept]] = {}
        self._publishers: Counter[Hashable] = Counter()
        self._crowd: Crowd[_Place] = Crowd()
        """All records, but for those that are exempt from quotas."""
        self._pointers: Crowd[_Place] = Crowd()
        """The mutable links among them."""
        self._due: list[tuple[int, bytes, _Slot]] = []
        """When each record expires, sorted."""
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._due)

    def put(self, record: Record, host: str, now: float) -> None:
        """Keeps a record that came from this host; an empty host is exempt from quotas. Raises Refused, with a reason.

        If the record is refused, all that were kept before stay. A record that is here already stays in the network
        from which it came, or moves to one that is less crowded: so nobody gets another's record displaced by storing
        it again from a crowded network.
        """
        self.expire(now)
        slot, origin = (record.publisher, int(record.kind)), origin_of(host)
        before = self._keys.get(record.key, {}).get(slot)
        if before is not None and before.expires <= now:
            self._forget(record.key, slot)
            before = None
        if before is None:
            for place in self._displaced_by(record, slot, origin):
                self._forget(*place)
            self._arrivals += 1
            self._keep(record, slot, origin, self._arrivals)
            return
        if record.sequence < before.sequence:
            raise Refused("an older one")
        if record.sequence == before.sequence and record.raw != before.raw:
            raise Refused("another one of the same sequence")
        self._forget(record.key, slot)
        self._keep(record, slot, self._less_crowded(record, before.origin, origin), before.number)

    def get(self, key: bytes, now: float) -> list[bytes]:
        """The live records under the key, as they were sent."""
        return [kept.raw for kept in self._keys.get(key, {}).values() if kept.expires > now]

    def spread(self, key: bytes, now: float, shuffle: Shuffle) -> list[bytes]:
        """The live records under the key in a random order in which all networks have their turns.

        Only a few fit into an answer: with this order, no network has more of them than its share.
        """
        alive = [(kept.origin.networks, kept.raw) for kept in self._keys.get(key, {}).values() if kept.expires > now]
        return in_turns(alive, shuffle)

    def expire(self, now: float) -> bool:
        """Forgets some expired records, few enough to be quick. Returns whether there may be more."""
        for _ in range(EXPIRED_AT_ONCE):
            if not self._due or self._due[0][0] > now:
                return False
            _, key, slot = self._due[0]
            self._forget(key, slot)
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys under which something is kept."""
        return iter(self._keys)

    def _displaced_by(self, record: Record, slot: _Slot, origin: Origin) -> list[_Place]:
        """The records that have to go for a newcomer, if any. Raises Refused if the newcomer gets no place."""
        if self._publishers[record.publisher] >= MAX_PER_PUBLISHER:
            raise Refused(QUOTA)
        gone = self._displaced_at_key(record, origin)
        network = origin.networks[: NARROW + 1]
        for crowd in self._exhausted(record, origin):
            if not any(self._counts_in(place, crowd, origin) for place in gone):
                gone.append(self._displaced_in(crowd, network, record, slot, origin, QUOTA))
        if len(self) >= MAX_RECORDS and not gone:
            gone.append(self._displaced_in(self._crowd, (), record, slot, origin, NO_ROOM))
        return gone

    def _exhausted(self, record: Record, origin: Origin) -> list[Crowd[_Place]]:
        """The quotas of the origin's network that allow no more records of this kind; that of pointers is first."""
        exhausted = []
        if origin.prefix:
            pointers = self._pointers.sizes(origin.networks)[NARROW] if record.kind is RecordKind.POINTER else 0
            if pointers >= MAX_POINTERS_PER_PREFIX:
                exhausted.append(self._pointers)
            if self._crowd.sizes(origin.networks)[NARROW] >= MAX_PER_PREFIX:
                exhausted.append(self._crowd)
        return exhausted

    def _counts_in(self, place: _Place, crowd: Crowd[_Place], origin: Origin) -> bool:
        """Whether a record counts in this quota of the origin's network."""
        key, slot = place
        is_counted = crowd is self._crowd or slot[1] == RecordKind.POINTER
        return is_counted and self._keys[key][slot].origin.prefix == origin.prefix

    def _displaced_at_key(self, record: Record, origin: Origin) -> list[_Place]:
        """The record under its own key that a newcomer displaces, if it has to. Raises Refused."""
        others = self._keys.get(record.key, {})
        if origin.prefix:
            same = {other: kept for other, kept in others.items() if kept.origin.prefix == origin.prefix}
            if len(same) >= MAX_PER_KEY_AND_PREFIX:
                return [(record.key, _less_senior_and_near(record, same, same, QUOTA))]
        if len(others) < MAX_PER_KEY:
            return []
        counts = Counter(chain(origin.nested, *(kept.origin.nested for kept in others.values())))
        crowding = {slot: [counts[one] for one in kept.origin.nested] for slot, kept in others.items()}
        own, most = [counts[one] for one in origin.nested] or [1], max(crowding.values())
        crowded = [slot for slot in others if crowding[slot] == most]
        if most[: len(own)] > own:
            return [(record.key, min(_ranked(crowded, others))[1])]
        return [(record.key, _less_senior_and_near(record, crowded, others, FULL))]

    def _displaced_in(
        self, crowd: Crowd[_Place], network: Networks, record: Record, slot: _Slot, origin: Origin, reason: str
    ) -> _Place:
        """Whose record, under any key, a newcomer to a full network or store displaces. Raises Refused."""
        crowded = crowd.outdone((record.key, slot), origin.networks, network)
        last = crowd.last(crowded or crowd.most_crowded(network), LAST_COME)
        farthest = max(last, key=lambda place: self._from_node(place[0]), default=None)
        if farthest is None or not (crowded or self._from_node(record.key) < self._from_node(farthest[0])):
            raise Refused(reason)
        return farthest

    def _from_node(self, key: bytes) -> int:
        return self._node ^ int.from_bytes(key, "big")

    def _less_crowded(self, record: Record, before: Origin, now: Origin) -> Origin:
        """To which of two origins a record counts. The record itself is not counted at present."""
        if now == before or not before.networks or self._exhausted(record, now):
            return before
        return now if self._crowd.sizes(now.networks) < self._crowd.sizes(before.networks) else before

    def _keep(self, record: Record, slot: _Slot, origin: Origin, number: int) -> None:
        distance = _distance(record.key, record.publisher)
        kept = _Kept(record.sequence, record.expires, record.raw, origin, number, distance)
        self._keys.setdefault(record.key, {})[slot] = kept
        insort(self._due, (record.expires, record.key, slot))
        self._publishers[record.publisher] += 1
        if origin.networks:
            self._crowd.add((record.key, slot), origin.networks)
            if record.kind is RecordKind.POINTER:
                self._pointers.add((record.key, slot), origin.networks)

    def _forget(self, key: bytes, slot: _Slot) -> None:
        kept = self._keys[key].pop(slot)
        if not self._keys[key]:
            del self._keys[key]
        del self._due[bisect_left(self._due, (kept.expires, key, slot))]
        _uncount(self._publishers, slot[0])
        if kept.origin.networks:
            self._crowd.remove((key, slot), kept.origin.networks)
            if slot[1] == RecordKind.POINTER:
                self._pointers.remove((key, slot), kept.origin.networks)


def _uncount(counts: Counter[Hashable], name: Hashable) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


def _less_senior_and_near(
    record: Record, candidates: Iterable[_Slot], others: dict[_Slot, _Kept], reason: str
) -> _Slot:
    """The candidate that goes first, if it is not of the older half, and farther from the key than the newcomer."""
    (is_senior, nearness), slot = min(_ranked(candidates, others))
    if is_senior or nearness >= -_distance(record.key, record.publisher):
        raise Refused(reason)
    return slot


def _ranked(candidates: Iterable[_Slot], others: dict[_Slot, _Kept]) -> Iterator[tuple[tuple[bool, int], _Slot]]:
    """In which order candidates go, the least first: those that came late, and of these the farthest publishers."""
    numbers = sorted(kept.number for kept in others.values())
    last_senior = numbers[(len(numbers) - 1) // 2]
    for slot in candidates:
        yield (others[slot].number <= last_senior, -others[slot].distance), slot


def _distance(key: bytes, publisher: PeerId) -> int:
    """How far a publisher is from a key. Another key gives another order, so no id is near many keys."""
    return int.from_bytes(H("near", key, publisher)[:8], "big")
