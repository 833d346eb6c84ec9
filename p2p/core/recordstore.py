"""What this peer keeps for the DHT: records by key, bounded every way, refused rather than evicted when full.

A key holds a set: one record for each publisher and kind, the one with the highest sequence. A storer never extends
an expiry. Times are passed in, seconds since 1970.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from p2p.errors import Refused
from p2p.ids import PeerId
from p2p.wire.records import Kind, Record

MOST_PER_KEY = 64
MOST_KEYS = 4096
MOST_BYTES = 16 * 1024 * 1024
MOST_PER_PUBLISHER = 256
MOST_PER_PREFIX = 512

FULL = "full"
"""The reason for which a publisher turns to the next shard."""


class _Kept(NamedTuple):
    sequence: int
    expires: int
    raw: bytes
    prefix: str


class RecordStore:
    """Records that were checked before (`wire.records.read`)."""

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[tuple[PeerId, Kind], _Kept]] = {}
        self._publishers: Counter[PeerId] = Counter()
        self._prefixes: Counter[str] = Counter()
        self.bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def put(self, record: Record, prefix: str, now: float) -> None:
        """Keeps a record that came from a network prefix. Raises Refused, with a short reason."""
        slot = (record.publisher, record.kind)
        kept = self._keys.get(record.key, {})
        before = kept.get(slot)
        if before is not None:
            if record.sequence < before.sequence:
                raise Refused("an older one")
            if record.sequence == before.sequence and record.raw != before.raw:
                raise Refused("another one of the same sequence")
            self._drop(record.key, slot)
        elif len(kept) >= MOST_PER_KEY:
            self._expire_key(record.key, now)
            kept = self._keys.get(record.key, {})
            if len(kept) >= MOST_PER_KEY:
                raise Refused(FULL)
        if record.key not in self._keys and len(self._keys) >= MOST_KEYS:
            self.expire(now)
            if len(self._keys) >= MOST_KEYS:
                raise Refused("no room")
        if self.bytes + len(record.raw) > MOST_BYTES:
            raise Refused("no room")
        if self._publishers[record.publisher] >= MOST_PER_PUBLISHER or self._prefixes[prefix] >= MOST_PER_PREFIX:
            raise Refused("quota")
        self._keys.setdefault(record.key, {})[slot] = _Kept(record.sequence, record.expires, record.raw, prefix)
        self._publishers[record.publisher] += 1
        self._prefixes[prefix] += 1
        self.bytes += len(record.raw)

    def get(self, key: bytes, now: float) -> list[bytes]:
        """The live records under the key, as they were sent."""
        return [kept.raw for kept in self._keys.get(key, {}).values() if kept.expires > now]

    def expire(self, now: float) -> None:
        """Forgets what has expired."""
        for key in list(self._keys):
            self._expire_key(key, now)

    def keys(self) -> Iterator[bytes]:
        """All keys under which something is kept."""
        return iter(self._keys)

    def _expire_key(self, key: bytes, now: float) -> None:
        for slot in [slot for slot, kept in self._keys.get(key, {}).items() if kept.expires <= now]:
            self._drop(key, slot)

    def _drop(self, key: bytes, slot: tuple[PeerId, Kind]) -> None:
        kept = self._keys[key].pop(slot)
        if not self._keys[key]:
            del self._keys[key]
        self.bytes -= len(kept.raw)
        self._publishers -= Counter([slot[0]])
        self._prefixes -= Counter([kept.prefix])
