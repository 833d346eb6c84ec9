"""The records that this peer keeps for the DHT, by key.

Their number and size are bounded: in total, and per key, publisher and network. A full store refuses new records and
evicts none.

A key may have many records, but only the one with the highest sequence for each publisher and kind. Expiry times are
never extended. Every operation takes the same short time, however many records are kept. Times are arguments, in
seconds since 1970.
"""

from collections import Counter
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace

import msgspec

from p2p.errors import Refused
from p2p.ids import PeerId
from p2p.wire.records import Record

MAX_PER_KEY = 64
MAX_KEYS = 4096
MAX_BYTES = 16 * 1024 * 1024
MAX_PER_PUBLISHER = 256
MAX_PER_PREFIX = 512
MAX_PER_KEY_AND_PREFIX = 8
"""The most records under a key from one prefix. Identities are free: without this, one host could fill a key alone."""
EXPIRED_AT_ONCE = 64

FULL = "full"
"""The reason of a refusal that sends a publisher to the next shard."""
QUOTA = "quota"


class _Kept(msgspec.Struct, frozen=True, gc=False):
    sequence: int
    expires: int
    raw: bytes
    prefix: str


_Slot = tuple[PeerId, int]
"""A record's publisher and kind, in a form that costs the garbage collector nothing."""


class RecordStore:
    """The records kept for other peers; `wire.records.read` has checked each of them before it gets here."""

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[_Slot, _Kept]] = {}
        self._publishers: Counter[bytes | str] = Counter()
        self._prefixes: Counter[bytes | str] = Counter()
        self._due: list[tuple[int, bytes, _Slot]] = []
        """A heap of when to check each record again: one entry per record, at or before its first expiry."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._due)

    def put(self, record: Record, prefix: str, now: float) -> None:
        """Keeps a record that came from a network prefix; an empty prefix has no quota. Raises Refused, with a reason.

        If the record is refused, the one that was kept before stays.
        """
        self.expire(now)
        slot = (record.publisher, int(record.kind))
        others = self._keys.get(record.key, {})
        before = others.get(slot)
        if before is not None and before.expires > now:
            if record.sequence < before.sequence:
                raise Refused("an older one")
            if record.sequence == before.sequence and record.raw != before.raw:
                raise Refused("another one of the same sequence")
        self._refuse_beyond_bounds(record, prefix, before, others)
        if before is None:
            heappush(self._due, (record.expires, record.key, slot))
        else:
            self._uncount(record.publisher, before)
        self._keys.setdefault(record.key, {})[slot] = _Kept(record.sequence, record.expires, record.raw, prefix)
        self._publishers[record.publisher] += 1
        self._prefixes[prefix] += 1
        self.bytes += len(record.raw)

    def get(self, key: bytes, now: float) -> list[bytes]:
        """The live records under the key, as they were sent."""
        return [kept.raw for kept in self._keys.get(key, {}).values() if kept.expires > now]

    def expire(self, now: float) -> bool:
        """Forgets some expired records, few enough to be quick. Returns whether there may be more."""
        for _ in range(EXPIRED_AT_ONCE):
            if not self._due or self._due[0][0] > now:
                return False
            _, key, slot = self._due[0]
            kept = self._keys[key][slot]
            if kept.expires > now:
                heapreplace(self._due, (kept.expires, key, slot))  # it was renewed
                continue
            heappop(self._due)
            self._uncount(slot[0], kept)
            del self._keys[key][slot]
            if not self._keys[key]:
                del self._keys[key]
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys under which something is kept."""
        return iter(self._keys)

    def _refuse_beyond_bounds(
        self, record: Record, prefix: str, before: _Kept | None, others: dict[_Slot, _Kept]
    ) -> None:
        if before is None and len(others) >= MAX_PER_KEY:
            raise Refused(FULL)
        if not others and len(self._keys) >= MAX_KEYS:
            raise Refused("no room")
        if self.bytes + len(record.raw) - (len(before.raw) if before else 0) > MAX_BYTES:
            raise Refused("no room")
        if self._publishers[record.publisher] - (before is not None) >= MAX_PER_PUBLISHER:
            raise Refused(QUOTA)
        if prefix and (before is None or before.prefix != prefix):
            here = sum(kept.prefix == prefix for kept in others.values())
            if self._prefixes[prefix] >= MAX_PER_PREFIX or here >= MAX_PER_KEY_AND_PREFIX:
                raise Refused(QUOTA)

    def _uncount(self, publisher: PeerId, kept: _Kept) -> None:
        self.bytes -= len(kept.raw)
        for counts, name in ((self._publishers, publisher), (self._prefixes, kept.prefix)):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
