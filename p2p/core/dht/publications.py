"""What a peer publishes in the DHT, and when each record is due again.

Records are published again well before they expire, at randomly spread times so that a network does not act in step. A
changed record is due at once. A record that is not settled, since fewer than `ENOUGH_STORERS` nodes took it, is tried
again soon, then less and less often; so are all when the network turns out to be larger than it was known to be.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from p2p.core.packing import packed
from p2p.ids import H, PeerId, ShareId
from p2p.wire import keywords
from p2p.wire.records import (
    LONGEST_S,
    MAP_BYTES,
    MAX_TITLE_BYTES,
    MAX_TITLES,
    OfferedCapacity,
    Payload,
    Pointer,
    Provider,
    Record,
    RecordKind,
    Title,
    Titles,
    Whereabouts,
    address_key,
    capacity_key,
    hiring_key,
    keyword_key,
    shards,
)
from p2p.wire.tracker import Capacity, provider_key

MAX_SHARES = 1000
"""The most shares that are published, the newest first; the rest are found through trackers and by browsing."""
MAX_WORDS = 500
WORDS_PER_NAME = 6
PIECES_PER_NAME = 40
"""How many pieces of two characters are published besides, of a name in a script without spaces between words: all."""
_TITLES_BYTES = 320
"""The most bytes of titles in one record, so that it stays within its 512 bytes."""
_TITLE_OVERHEAD = 48

INTERVAL_S = {
    RecordKind.PROVIDER: 2700.0,
    RecordKind.CAPACITY: 600.0,
    RecordKind.ADDRESS: 2700.0,
    RecordKind.KEYWORD: 3 * 3600.0,
    RecordKind.POINTER: 12 * 3600.0,
}
"""How many seconds after publication a record is due again, plus or minus a fifth; less than half of its life."""
JITTER = 0.2
ENOUGH_HOLDERS = 3
"""How many nodes must have answered with records before a read ends."""
ENOUGH_STORERS = 3
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 120.0
FIRST_REPEAT_S, LAST_REPEAT_S = 30.0, 900.0
"""Pauses before a record is tried again that a few nodes store, or for which nodes had no room."""
MANY_NODES = 20
"""With this many nodes known, a record is with those nearest to its key, whoever joins."""


class Item(msgspec.Struct, frozen=True):
    """One record to publish: its key, what it says, and for how long it is valid."""

    key: bytes
    payload: Payload
    """The payload without addresses: which address it names depends on how the storer sees the publisher."""
    lasts_s: int
    others: tuple[bytes, ...] = ()
    """Keys to use if the storers of `key` are full."""
    record: Record | None = None
    """The record itself, if it already exists and is only stored again."""

    @property
    def kind(self) -> RecordKind:
        return _KIND[type(self.payload)]

    def content(self, network: str, place: str) -> bytes:
        """A digest that changes with the payload and the network, and, if the record names an address, with `place`."""
        said = self.record.raw if self.record is not None else msgspec.msgpack.encode(self.payload)
        return H("published", network.encode(), said, place.encode() if self.kind in _ADDRESSED else b"")[:16]


_ADDRESSED = frozenset({RecordKind.PROVIDER, RecordKind.ADDRESS, RecordKind.CAPACITY})
_KIND: dict[type[Payload], RecordKind] = {
    Provider: RecordKind.PROVIDER,
    Whereabouts: RecordKind.ADDRESS,
    Titles: RecordKind.KEYWORD,
    Pointer: RecordKind.POINTER,
    OfferedCapacity: RecordKind.CAPACITY,
}


def provider_items(shares: Iterable[tuple[ShareId, bytes]]) -> Iterator[Item]:
    """Makes a record for each share that the peer has, with the map of the chunks that it holds."""
    for share, held in shares:
        yield Item(provider_key(share), Provider((), held), LONGEST_S[RecordKind.PROVIDER])


def address_item(peer: PeerId) -> Item:
    """Makes the record of the peer's addresses."""
    return Item(address_key(peer), Whereabouts(()), LONGEST_S[RecordKind.ADDRESS])


def capacity_items(capacity: Capacity) -> Iterator[Item]:
    """Makes a record of a volunteer's offer for each of its runtimes, without its load, which changes too quickly."""
    offer = OfferedCapacity(msgspec.structs.replace(capacity, load=0.0))
    for runtime in capacity.runtimes:
        yield _sharded(shards(capacity_key, runtime), offer)


def hiring_items(runtimes: Iterable[str]) -> Iterator[Item]:
    """Makes a record for each runtime, by which an owner looks for volunteers that have the runtime."""
    for runtime in runtimes:
        yield _sharded(shards(hiring_key, runtime), Provider((), bytes(MAP_BYTES)))


def pointer_items(pointers: Iterable[Record]) -> Iterator[Item]:
    """Makes records of pointers, this peer's own and those it follows: anybody may store the same bytes again."""
    for record in pointers:
        yield Item(record.key, record.payload, LONGEST_S[RecordKind.POINTER], record=record)


def keyword_items(shares: Iterable[tuple[ShareId, str, int]]) -> list[Item]:
    """Makes records of shares (id, name, size in bytes) by the words of their names, a few titles in each."""
    by_word: dict[str, list[Title]] = {}
    further: list[tuple[str, Title]] = []

    def add(word: str, title: Title) -> None:
        if word in by_word or len(by_word) < MAX_WORDS:
            by_word.setdefault(word, []).append(title)

    for share, name, size in shares:
        title = Title(share, size, _cut(name))
        found = keywords.telling(title.title, WORDS_PER_NAME, PIECES_PER_NAME)
        for word in found[:WORDS_PER_NAME]:
            add(word, title)
        further += [(word, title) for word in found[WORDS_PER_NAME:]]
    for word, title in further:  # no name's pieces displace the best words of another
        add(word, title)
    items = []
    for word, titles in by_word.items():
        keys = shards(keyword_key, word)
        few = packed(titles, _title_bytes, _TITLES_BYTES, MAX_TITLES)
        items += [_sharded(keys[number:], Titles(tuple(some))) for number, some in enumerate(islice(few, len(keys)))]
    return items


def due_at(published: float, kind: RecordKind, chance: float) -> float:
    """When a record published at `published` is due again; `chance` is a random number from 0 to 1."""
    return published + INTERVAL_S[kind] * (1 - JITTER + 2 * JITTER * chance)


def again_after(failures: int, chance: float, *, answered: bool) -> float:
    """Seconds until a record that is not settled is tried again, after this many attempts.

    `answered`: whether any node took it, or had no room for it. If none did, the network is tried sooner.
    """
    first, last = (FIRST_REPEAT_S, LAST_REPEAT_S) if answered else (FIRST_RETRY_S, LAST_RETRY_S)
    return min(last, first * 2.0 ** min(failures - 1, 16)) * (1 - JITTER + 2 * JITTER * chance)


def has_grown(before: int, nodes: int, *, settled: bool) -> bool:
    """Whether a record should be published again, as `nodes` are known now, and only `before` were when it was."""
    if before >= MANY_NODES:
        return False
    return nodes >= 2 * before if settled else nodes > before


def _sharded(keys: Sequence[bytes], payload: Payload) -> Item:
    """Makes a record for the first of the keys whose storers have space."""
    first, *others = keys
    return Item(first, payload, LONGEST_S[_KIND[type(payload)]], tuple(others))


def _title_bytes(title: Title) -> int:
    return len(title.title.encode()) + _TITLE_OVERHEAD


def _cut(name: str) -> str:
    """The name, cut after a whole character to at most `MAX_TITLE_BYTES` bytes."""
    return name.encode()[:MAX_TITLE_BYTES].decode(errors="ignore")
