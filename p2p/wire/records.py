"""Records: small statements that peers keep for each other in the DHT, signed by their publisher, until they expire.

    signature (64) | msgpack [version, kind, key (20), publisher (32), sequence, issued, expires, payload (bytes)]

The signature is over `signatures.Purpose.RECORD` and the msgpack part exactly as sent; that part must be the same when
decoded and encoded again, so a record has only one form. Times are whole seconds since 1970. If a publisher has several
records of one kind under one key, only the one with the highest sequence number is valid. All addresses in a record
belong to one host, and whoever asks others to store it must be at that host (`at_home`), so nobody can make peers
contact a third party. A record is bound to its key where the payload allows it.

    kind      key                                  payload          longest life
    provider  H("provider", share id)              Provider         2 h
              H("hiring", runtime, shard)          Provider         2 h; from an owner who looks for volunteers
    capacity  H("capacity", runtime, shard)        OfferedCapacity  30 min
    address   H("address", peer id)                Whereabouts      2 h
    keyword   H("keyword", word, shard)            Titles           6 h
    pointer   H("pointer", peer id, name)          Pointer          30 days

The version is 1, but for keyword records, whose version is that of `keywords`, which says how names are cut into words.
Keys are the first 20 bytes of H. A shard is one byte: 0, then 1, 2, 3 when the nodes that store the previous shard
are full.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Annotated

import msgspec

from p2p.errors import MalformedMessage
from p2p.identity import Identity, verify
from p2p.ids import H, PeerId
from p2p.wire import keywords
from p2p.wire.address import Port, ip
from p2p.wire.signatures import SIGNATURE_BYTES, Purpose, record_before, to_sign
from p2p.wire.tracker import KEY_BYTES, Capacity

MAX_RECORD_BYTES = 512
MAX_TITLES = 4
MAX_TITLE_BYTES = 120
MAX_SHARDS = 4
FULL_SHARD = 32
"""How many records fill a shard: if one has this many, there may be more records in the next."""
MAP_BYTES = 8
WHOLE = b"\xff" * MAP_BYTES
SKEW_S = 600


class RecordKind(IntEnum):
    """The kind of a record, which decides its payload."""

    PROVIDER = 1
    CAPACITY = 2
    ADDRESS = 3
    KEYWORD = 4
    POINTER = 5


LONGEST_S = {
    RecordKind.PROVIDER: 2 * 3600,
    RecordKind.CAPACITY: 1800,
    RecordKind.ADDRESS: 2 * 3600,
    RecordKind.KEYWORD: 6 * 3600,
    RecordKind.POINTER: 30 * 24 * 3600,
}
"""The longest that a record of each kind may last, in seconds."""

VERSIONS = {kind: keywords.VERSION if kind is RecordKind.KEYWORD else 1 for kind in RecordKind}
"""The version of records of each kind; those of other versions are refused."""

_Host = Annotated[str, msgspec.Meta(min_length=2, max_length=64)]
_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
_Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Time = Annotated[int, msgspec.Meta(ge=0, lt=2**40)]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Provider(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The payload of a provider record: the publisher has chunks of the key's share, or is fetching it."""

    addresses: Annotated[tuple[tuple[_Host, Port], ...], msgspec.Meta(max_length=4)]
    """Where the publisher listens; empty if it cannot be dialled."""
    held: Annotated[bytes, msgspec.Meta(min_length=MAP_BYTES, max_length=MAP_BYTES)] = WHOLE
    """Which of 64 equal ranges of chunks the publisher has whole: bit i of byte n, lowest first, is range 8 n + i."""

    @property
    def whole(self) -> bool:
        return bool(self.held == WHOLE)


class Whereabouts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The payload of an address record: where the publisher listens; no addresses if it cannot be dialled."""

    addresses: Annotated[tuple[tuple[_Host, Port], ...], msgspec.Meta(max_length=4)]


class Title(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of a keyword record's payload (`Titles`): a share, its size in bytes, and its name."""

    share: _Id
    size: _Number
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE_BYTES)]


class Titles(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The payload of a keyword record: shares that, according to the publisher, have the keyword in their names."""

    titles: Annotated[tuple[Title, ...], msgspec.Meta(min_length=1, max_length=MAX_TITLES)]


class Pointer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The payload of a pointer record: the publisher's newest share under a name."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    share: _Id


class OfferedCapacity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The payload of a capacity record: the computing power that the publisher offers, and where it listens."""

    capacity: Capacity
    addresses: Annotated[tuple[tuple[_Host, Port], ...], msgspec.Meta(max_length=4)] = ()


Payload = Provider | Whereabouts | Titles | Pointer | OfferedCapacity

_PAYLOADS: dict[RecordKind, type[Payload]] = {
    RecordKind.PROVIDER: Provider,
    RecordKind.CAPACITY: OfferedCapacity,
    RecordKind.ADDRESS: Whereabouts,
    RecordKind.KEYWORD: Titles,
    RecordKind.POINTER: Pointer,
}


class _Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: Annotated[int, msgspec.Meta(ge=1, le=keywords.VERSION)]
    kind: RecordKind
    key: _Key
    publisher: _Id
    sequence: _Number
    issued: _Time
    expires: _Time
    payload: Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record with a valid signature; `raw` is the whole record as sent."""

    kind: RecordKind
    key: bytes
    publisher: PeerId
    sequence: int
    issued: int
    expires: int
    payload: Payload
    raw: bytes
    network: str | None
    """The network in which it was signed. None for one from before shoal/2, which others no longer take."""

    def at_home(self, host: str) -> bool:
        """Whether all addresses in the record are of this host."""
        return all(ip(named) is not None and ip(named) == ip(host) for named, _ in addresses_of(self.payload))


def address_key(peer: PeerId) -> bytes:
    """The key under which a peer's addresses are kept."""
    return H("address", peer)[:KEY_BYTES]


def pointer_key(peer: PeerId, name: str) -> bytes:
    """The key under which a peer's pointer of that name is kept."""
    return H("pointer", peer, name.encode())[:KEY_BYTES]


def keyword_key(word: str, shard: int = 0) -> bytes:
    """The key under which shares with a word in their names are kept."""
    return H("keyword", word.encode(), bytes([shard]))[:KEY_BYTES]


def capacity_key(runtime: str, shard: int = 0) -> bytes:
    """The key under which volunteers that offer a runtime are kept."""
    return H("capacity", runtime.encode(), bytes([shard]))[:KEY_BYTES]


def hiring_key(runtime: str, shard: int = 0) -> bytes:
    """The key of owners who look for volunteers with a runtime: their work is treated as a share that they lack.

    A volunteer that cannot be dialled announces that it has that share, so it learns of the owners, and calls them.
    """
    return H("hiring", runtime.encode(), bytes([shard]))[:KEY_BYTES]


def shards(key_of: Callable[[str, int], bytes], name: str) -> tuple[bytes, ...]:
    """The keys for records of one name, made by `key_of`. When one is full, further records go to the next."""
    return tuple(key_of(name, shard) for shard in range(MAX_SHARDS))


def addresses_of(payload: Payload) -> tuple[tuple[str, int], ...]:
    """The addresses that a payload names."""
    return payload.addresses if isinstance(payload, Provider | Whereabouts | OfferedCapacity) else ()


_encoder = msgspec.msgpack.Encoder()
_body_decoder = msgspec.msgpack.Decoder(_Body)
_payload_decoders = {kind: msgspec.msgpack.Decoder(payload) for kind, payload in _PAYLOADS.items()}
_KINDS = {payload: kind for kind, payload in _PAYLOADS.items()}


def seal(
    identity: Identity, network: str, key: bytes, payload: Payload, *, sequence: int, now: int, lasts_s: int
) -> Record:
    """Makes a record, signed by this peer. Raises ValueError if others would not accept it."""
    kind = _KINDS[type(payload)]
    body = _encoder.encode(
        _Body(VERSIONS[kind], kind, key, identity.peer_id, sequence, now, now + lasts_s, _encoder.encode(payload))
    )
    raw = identity.sign(to_sign(Purpose.RECORD, network, body)) + body
    try:
        return read(raw, key, now, network)
    except MalformedMessage as error:
        raise ValueError(str(error)) from None


def read(raw: bytes, key: bytes, now: float | None, network: str | None) -> Record:
    """Checks a record found under a key: form, times, key, signature. Raises MalformedMessage.

    If `now` is None, the times are not checked: for a stored record, which was valid when it arrived. If `network` is
    None, it must be a record that was signed before shoal/2.
    """
    if not SIGNATURE_BYTES < len(raw) <= MAX_RECORD_BYTES:
        raise MalformedMessage("a record out of bounds")
    body = raw[SIGNATURE_BYTES:]
    try:
        fields = _body_decoder.decode(body)
        payload: Payload = _payload_decoders[fields.kind].decode(fields.payload)
        canonical = _encoder.encode(fields) == body and _encoder.encode(payload) == fields.payload
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedMessage(f"not a record: {error}") from None
    if fields.version != VERSIONS[fields.kind]:
        raise MalformedMessage(f"a record of version {fields.version}")
    if not canonical:
        raise MalformedMessage("a record not in its one form")
    if fields.key != key:
        raise MalformedMessage("a record under a key that is not its own")
    lasts = fields.expires - fields.issued
    is_timely = now is None or (fields.expires > now and fields.issued <= now + SKEW_S)
    if not is_timely or not 0 < lasts <= LONGEST_S[fields.kind]:
        raise MalformedMessage("a record that has expired, or lasts too long")
    publisher = PeerId(fields.publisher)
    if not _belongs(key, publisher, payload):
        raise MalformedMessage("a record that does not belong under its key")
    hosts = {ip(host) for host, _ in addresses_of(payload)}
    if None in hosts or len(hosts) > 1:
        raise MalformedMessage("a record with something else for an address, or of several hosts")
    signed = record_before(body) if network is None else to_sign(Purpose.RECORD, network, body)
    if not verify(publisher, raw[:SIGNATURE_BYTES], signed):
        raise MalformedMessage("a record with a wrong signature")
    return Record(fields.kind, key, publisher, fields.sequence, fields.issued, fields.expires, payload, raw, network)


def _belongs(key: bytes, publisher: PeerId, payload: Payload) -> bool:
    """Whether the payload belongs under the key, as far as the payload shows."""
    match payload:
        case Provider():
            return True
        case Whereabouts():
            return key == address_key(publisher)
        case Pointer(name):
            return key == pointer_key(publisher, name)
        case Titles(titles):
            return all(_among(key, keyword_key, keywords.words(title.title)) for title in titles)
        case OfferedCapacity(capacity):
            return _among(key, capacity_key, capacity.runtimes)


def _among(key: bytes, key_of: Callable[[str, int], bytes], names: Sequence[str]) -> bool:
    return any(key_of(name, shard) == key for shard in range(MAX_SHARDS) for name in names)
