"""Records: one form, one publisher, one key; whatever else arrives is malformed and nothing worse."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import MalformedMessage
from p2p.identity import Identity
from p2p.ids import H, PeerId
from p2p.wire import records
from p2p.wire.records import (
    LONGEST_S,
    MAX_RECORD_BYTES,
    MAX_SHARDS,
    SKEW_S,
    OfferedCapacity,
    Payload,
    Pointer,
    Provider,
    Record,
    RecordKind,
    Title,
    Titles,
    Whereabouts,
)
from p2p.wire.signatures import SIGNATURE_BYTES, Purpose, to_sign
from p2p.wire.tracker import Capacity

IDENTITY = Identity.generate()
OTHER = Identity.generate()
NETWORK = "tests"
NOW = 1_800_000_000
KEY = H("anything")[:20]

ports = st.integers(1, 65535)
hosts = st.ip_addresses().map(str)
addresses = hosts.flatmap(lambda host: st.lists(ports, max_size=4).map(lambda all: tuple((host, one) for one in all)))
capacities = st.builds(
    Capacity, runtimes=st.just(("wasm-1", "python-3.14")), cores=st.integers(1, 4096), memory=st.integers(0, 2**40)
)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
share_ids = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, 2**53 - 1)


def placed(payload: Payload) -> tuple[bytes, Payload]:
    """The payload under a key where it belongs."""
    match payload:
        case Provider():
            return KEY, payload
        case Whereabouts():
            return records.address_key(IDENTITY.peer_id), payload
        case Pointer(name):
            return records.pointer_key(IDENTITY.peer_id, name), payload
        case Titles():
            return records.keyword_key("germinal", MAX_SHARDS - 1), payload
        case OfferedCapacity():
            return records.capacity_key("wasm-1"), payload


payloads = st.one_of(
    st.builds(Provider, addresses, st.binary(min_size=8, max_size=8)),
    st.builds(Whereabouts, addresses),
    st.builds(Pointer, names, share_ids),
    st.builds(Titles, st.tuples(st.builds(Title, share_ids, sizes, names.map(lambda name: name + " Germinal")))),
    st.builds(OfferedCapacity, capacities, addresses),
).map(placed)


def sealed(key: bytes, payload: Payload, *, sequence: int = 7) -> Record:
    return records.seal(IDENTITY, NETWORK, key, payload, sequence=sequence, now=NOW, lasts_s=1800)


def signed(body: bytes, identity: Identity = IDENTITY, purpose: Purpose = Purpose.RECORD) -> bytes:
    return identity.sign(to_sign(purpose, NETWORK, body)) + body


def body(**changes: object) -> bytes:
    """The body of a provider record, by hand."""
    fields: dict[str, object] = {
        "version": 1,
        "kind": 1,
        "key": KEY,
        "publisher": IDENTITY.peer_id,
        "sequence": 7,
        "issued": NOW,
        "expires": NOW + 1800,
        "payload": msgspec.msgpack.encode([[["192.0.2.7", 7474]], b"\xff" * 8]),
    } | changes
    return msgspec.msgpack.encode(list(fields.values()))


@given(payloads, st.integers(0, 2**53 - 1))
def test_what_is_sealed_is_read_as_it_was(where: tuple[bytes, Payload], sequence: int) -> None:
    key, payload = where
    record = sealed(key, payload, sequence=sequence)
    assert len(record.raw) <= MAX_RECORD_BYTES
    assert records.read(record.raw, key, NOW + 1, NETWORK) == record
    assert (record.payload, record.publisher, record.sequence) == (payload, IDENTITY.peer_id, sequence)


def test_the_record_made_by_hand_is_right() -> None:
    """Else those below would be refused for another reason than they are to be."""
    record = records.read(signed(body()), KEY, NOW, NETWORK)
    assert record.payload == Provider((("192.0.2.7", 7474),))


@given(payloads, st.data())
def test_no_bit_can_be_turned_and_no_byte_be_missing(where: tuple[bytes, Payload], data: st.DataObject) -> None:
    key, payload = where
    raw = sealed(key, payload).raw
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    turned = bytearray(raw)
    turned[at // 8] ^= 1 << at % 8
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    for bad in (bytes(turned), cut, raw + b"\0", raw + raw):
        with pytest.raises(MalformedMessage):
            records.read(bad, key, NOW, NETWORK)


@given(st.binary(max_size=2000))
def test_any_bytes_are_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        records.read(raw, KEY, NOW, NETWORK)
    with pytest.raises(MalformedMessage):
        records.read(signed(raw), KEY, NOW, NETWORK)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(anything, st.sampled_from(RecordKind))
def test_any_signed_structure_is_malformed(value: object, kind: RecordKind) -> None:
    for bad in (msgspec.msgpack.encode(value), body(kind=int(kind), payload=msgspec.msgpack.encode([value, value]))):
        with pytest.raises(MalformedMessage):
            records.read(signed(bad), KEY, NOW, NETWORK)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 0},
        {"kind": 0},
        {"kind": 6},
        {"kind": 1.0},
        {"kind": 2},  # a payload of another kind
        {"key": KEY[:19]},
        {"key": H("other")[:20]},
        {"publisher": IDENTITY.peer_id[:31]},
        {"publisher": OTHER.peer_id},
        {"publisher": bytes(32)},  # a key of small order, for which anybody can sign
        {"sequence": -1},
        {"sequence": 2**53},
        {"issued": NOW + SKEW_S + 1, "expires": NOW + SKEW_S + 2},
        {"expires": NOW},
        {"expires": NOW - 1},
        {"expires": NOW + LONGEST_S[RecordKind.PROVIDER] + 1},
        {"issued": NOW + 5, "expires": NOW + 5},
        {"issued": NOW + 5, "expires": NOW + 4},
        {"expires": float(NOW + 1800)},
        {"payload": msgspec.msgpack.encode([[["example.org", 7474]], b"\xff" * 8])},
        {"payload": msgspec.msgpack.encode([[["192.0.2.7\n", 7474]], b"\xff" * 8])},
        {"payload": msgspec.msgpack.encode([[["192.0.2.7", 0]], b"\xff" * 8])},
        {"payload": msgspec.msgpack.encode([[["192.0.2.7", 1], ["192.0.2.8", 1]], b"\xff" * 8])},
        {"payload": msgspec.msgpack.encode([[["192.0.2.7", 1]] * 5, b"\xff" * 8])},
        {"payload": msgspec.msgpack.encode([[["192.0.2.7", 1]], b"\xff" * 7])},
        {"payload": msgspec.msgpack.encode([[["192.0.2.7", 1]], b"\xff" * 8, "more"])},
        {"payload": msgspec.msgpack.encode([[["192.0.2.7", 1]]])},  # a default that was left out
        {"payload": b""},
        {"payload": b"\x91" * 300},
        {"more": 1},
    ],
)
def test_what_is_out_of_bounds_is_refused_though_it_is_signed(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedMessage):
        records.read(signed(body(**changes)), KEY, NOW, NETWORK)


def test_there_is_one_form() -> None:
    """The same fields in more bytes than they need: else a record could be kept many times."""
    short = body()
    at = short.index(IDENTITY.peer_id) + 32
    assert short[at] == 7  # the sequence
    with pytest.raises(MalformedMessage, match="one form"):
        records.read(signed(short[:at] + b"\xcd\x00\x07" + short[at + 1 :]), KEY, NOW, NETWORK)


def test_a_signature_for_something_else_is_none() -> None:
    for purpose in set(Purpose) - {Purpose.RECORD}:
        with pytest.raises(MalformedMessage, match="signature"):
            records.read(signed(body(), purpose=purpose), KEY, NOW, NETWORK)
    with pytest.raises(MalformedMessage, match="signature"):
        records.read(signed(body(), OTHER), KEY, NOW, NETWORK)


def test_times_are_held_against_the_clock_of_the_reader() -> None:
    record = sealed(KEY, Provider(()))
    for good in (NOW - SKEW_S, NOW, NOW + 1799):
        assert records.read(record.raw, KEY, good, NETWORK) == record
    for bad in (NOW - SKEW_S - 1, NOW + 1800, NOW + 10**9, 0):
        with pytest.raises(MalformedMessage):
            records.read(record.raw, KEY, bad, NETWORK)
    assert records.read(record.raw, KEY, None, NETWORK) == record


@pytest.mark.parametrize(
    ("key", "payload"),
    [
        (records.address_key(OTHER.peer_id), Whereabouts(())),
        (records.pointer_key(OTHER.peer_id, "news"), Pointer("news", bytes(32))),
        (records.pointer_key(IDENTITY.peer_id, "news"), Pointer("olds", bytes(32))),
        (records.keyword_key("zola"), Titles((Title(bytes(32), 1, "Germinal"),))),
        (records.keyword_key("zola"), Titles((Title(bytes(32), 1, "Zola"), Title(bytes(32), 1, "Germinal")))),
        (records.keyword_key("zola", MAX_SHARDS), Titles((Title(bytes(32), 1, "Zola"),))),
        (records.capacity_key("other"), OfferedCapacity(Capacity(("wasm-1",), 1, 1))),
    ],
    ids=["address", "publisher", "name", "word", "words", "shard", "runtime"],
)
def test_a_record_belongs_under_its_key_only(key: bytes, payload: Payload) -> None:
    with pytest.raises(ValueError, match="belong"):
        sealed(key, payload)


@pytest.mark.parametrize(
    "make",
    [
        lambda: records.seal(
            IDENTITY, NETWORK, KEY, Provider(()), sequence=0, now=NOW, lasts_s=LONGEST_S[RecordKind.PROVIDER] + 1
        ),
        lambda: records.seal(IDENTITY, NETWORK, KEY, Provider(()), sequence=0, now=NOW, lasts_s=0),
        lambda: sealed(KEY, Provider((("192.0.2.7", 1), ("192.0.2.8", 1)))),
        lambda: sealed(KEY, Provider((("example.org", 1),))),
        lambda: sealed(records.pointer_key(IDENTITY.peer_id, ""), Pointer("", bytes(32))),
        lambda: sealed(records.pointer_key(IDENTITY.peer_id, "n" * 121), Pointer("n" * 121, bytes(32))),
        lambda: sealed(
            records.keyword_key("germinal"), Titles(tuple(Title(bytes(32), 1, "Germinal" * 14) for _ in range(4)))
        ),
    ],
)
def test_nobody_seals_what_others_refuse(make: Callable[[], Record]) -> None:
    with pytest.raises(ValueError, match="record"):
        make()


@pytest.mark.parametrize(
    ("named", "host", "home"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.8", "192.0.2.7", False),
        ("2001:DB8::7", "2001:db8:0::7", True),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("2001:db8::8", "2001:db8::7", False),
        ("fe80::1%eth0", "fe80::1", False),
    ],
)
def test_who_stores_sits_at_the_address_named(named: str, host: str, home: bool) -> None:
    record = sealed(KEY, Provider(((named, 1), (named, 2))))
    assert record.at_home(host) is home
    assert sealed(KEY, Provider(())).at_home(host)


def test_keys_do_not_meet() -> None:
    peer = PeerId(bytes(32))
    keys = [records.address_key(peer), records.pointer_key(peer, ""), records.pointer_key(peer, "a")]
    keys += [make("a", shard) for make in (records.keyword_key, records.capacity_key) for shard in range(MAX_SHARDS)]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {20}
    assert SIGNATURE_BYTES == 64
