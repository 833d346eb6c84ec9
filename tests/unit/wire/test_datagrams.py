"""Datagrams: read as they were written, by who is of the network; anything else is malformed or proves nothing."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import MalformedMessage
from p2p.identity import Identity
from p2p.ids import H
from p2p.wire import datagrams, nodeid
from p2p.wire.datagrams import (
    AMPLIFICATION,
    MAGIC,
    MAX_DATAGRAM_BYTES,
    PADDED_BYTES,
    AnyMessage,
    DatagramCodec,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Store,
    Stored,
    Values,
)
from p2p.wire.signatures import Purpose, to_sign

IDENTITY = Identity.generate()
NONCE = bytes(8)
CODEC = DatagramCodec(IDENTITY, NONCE, "tests", 0)
READER = DatagramCodec(Identity.generate(), NONCE, "tests", 0)
HEADER_BYTES = 111

numbers = st.binary(min_size=12, max_size=12)
ids = st.binary(min_size=20, max_size=20)
receivers = st.just(b"") | ids
tokens = st.binary(min_size=8, max_size=8)
times = st.integers(0, 2**40 - 1)
seen = st.sampled_from([bytes(6), bytes(range(18))])
contacts = st.binary(max_size=300)
messages: st.SearchStrategy[AnyMessage] = st.one_of(
    st.builds(Ping, numbers, receivers, st.binary(max_size=100)),
    st.builds(FindNode, numbers, receivers, ids, st.binary(max_size=100)),
    st.builds(FindValue, numbers, receivers, ids, st.binary(max_size=100)),
    st.builds(Store, numbers, receivers, tokens, ids, st.binary(max_size=512), st.binary(max_size=100)),
    st.builds(Pong, numbers, receivers, times, seen),
    st.builds(Nodes, numbers, receivers, times, seen, tokens, contacts),
    st.builds(
        Values,
        numbers,
        receivers,
        times,
        seen,
        tokens,
        contacts,
        st.lists(st.binary(max_size=40), max_size=16).map(tuple),
        st.integers(0, 65535),
    ),
    st.builds(Stored, numbers, receivers, times, seen, st.text(max_size=64)),
)


def signed(body: bytes, purpose: Purpose = Purpose.DATAGRAM, network: str = "tests", shown: str = "tests") -> bytes:
    """A datagram by hand: whatever body, with a right signature."""
    named = H("network", shown.encode())
    return MAGIC + named[:4] + IDENTITY.peer_id + NONCE + IDENTITY.sign(to_sign(purpose, network, NONCE, body)) + body


@given(messages)
def test_what_is_written_is_read_and_proven(message: AnyMessage) -> None:
    written = CODEC.write(message)
    assert len(written) == datagrams.overhead(message) <= MAX_DATAGRAM_BYTES
    read = READER.read(written)
    assert (read.message, read.peer) == (message, IDENTITY.peer_id)
    assert READER.proven(read) == CODEC.node_id == nodeid.node_id(IDENTITY.peer_id, NONCE)


@given(messages, st.data())
def test_no_bit_can_be_turned_and_no_byte_be_missing(message: AnyMessage, data: st.DataObject) -> None:
    written = CODEC.write(message)
    at = data.draw(st.integers(0, len(written) * 8 - 1))
    turned = bytearray(written)
    turned[at // 8] ^= 1 << at % 8
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    for bad in (bytes(turned), cut, written + b"\0"):
        try:
            read = READER.read(bad)
        except MalformedMessage:
            continue
        assert READER.proven(read) is None


@pytest.mark.parametrize("length", range(0, 2001, 7))
def test_any_length_is_in_bounds_or_malformed(length: int) -> None:
    head = CODEC.write(Ping(bytes(12), b""))[:HEADER_BYTES]
    for bad in (bytes(length), (head + bytes(2000))[:length], (CODEC.write(Ping(bytes(12), b"")) * 20)[:length]):
        if length == len(CODEC.write(Ping(bytes(12), b""))) and bad[-1]:
            continue
        with pytest.raises(MalformedMessage):
            READER.read(bad)


@given(st.binary(max_size=2000))
def test_any_bytes_are_malformed_or_a_message_of_which_nothing_is_proven(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        READER.read(data)
    head = CODEC.write(Ping(bytes(12), b""))[:HEADER_BYTES]
    try:
        read = READER.read(head + data)
    except MalformedMessage:
        return
    assert READER.proven(read) is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(st.sampled_from([0, 1, 2, 3, 4, 15, 16, 17, 18, 19, 20, 64]), st.lists(anything, max_size=8))
def test_any_signed_structure_is_malformed_or_a_whole_message(tag: int, fields: list[object]) -> None:
    try:
        read = READER.read(signed(msgspec.msgpack.encode([tag, *fields])))
    except MalformedMessage:
        return
    assert isinstance(read.message, AnyMessage)
    assert len(read.message.number) == 12


@pytest.mark.parametrize("body", [b"", b"\x91" * 1100, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x80"])
def test_signed_nonsense_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        READER.read(signed(body))


def test_another_network_is_something_else() -> None:
    for name in ("Tests", "tests ", "", "main"):
        with pytest.raises(MalformedMessage, match="something else"):
            DatagramCodec(IDENTITY, NONCE, name, 0).read(CODEC.write(Ping(bytes(12), b"")))


def test_the_whole_name_of_the_network_is_signed() -> None:
    """The four bytes in the open are only to drop others' datagrams cheaply: they can be alike by chance."""
    body = msgspec.msgpack.encode(Ping(bytes(12), b""))
    assert READER.proven(READER.read(signed(body))) is not None
    assert READER.proven(READER.read(signed(body, network="other"))) is None


def test_a_signature_for_something_else_is_none() -> None:
    body = msgspec.msgpack.encode(Ping(bytes(12), b""))
    for purpose in set(Purpose) - {Purpose.DATAGRAM}:
        assert READER.proven(READER.read(signed(body, purpose))) is None


def test_too_little_work_is_none() -> None:
    nonce = nodeid.find_nonce(IDENTITY.peer_id, 8)
    strict = DatagramCodec(Identity.generate(), nonce, "tests", 8)
    worked = DatagramCodec(IDENTITY, nonce, "tests", 8)
    codecs = (DatagramCodec(IDENTITY, bytes([count] * 8), "tests", 8) for count in range(256))
    idle = next(codec for codec in codecs if not nodeid.is_valid(codec.node_id, 8))
    message = Ping(bytes(12), b"")
    assert strict.proven(strict.read(worked.write(message))) == worked.node_id
    assert strict.proven(strict.read(idle.write(message))) is None


def test_a_message_that_does_not_fit_is_not_written() -> None:
    number, to = bytes(12), bytes(20)
    room = MAX_DATAGRAM_BYTES - datagrams.overhead(Nodes(number, to, 1, bytes(6), bytes(8), b"")) - 1
    assert len(CODEC.write(Nodes(number, to, 1, bytes(6), bytes(8), bytes(room)))) == MAX_DATAGRAM_BYTES
    with pytest.raises(ValueError, match="too large"):
        CODEC.write(Nodes(number, to, 1, bytes(6), bytes(8), bytes(room + 1)))


@given(seen, receivers, times, st.text(max_size=64))
def test_short_answers_are_small_whatever_the_query(seen: bytes, to: bytes, now: int, refused: str) -> None:
    """Those that are not made to fit a budget: the smallest query there is pays for the largest answer."""
    ping = datagrams.overhead(Ping(bytes(12), b""))
    store = datagrams.overhead(Store(bytes(12), bytes(20), bytes(8), bytes(20), b""))
    assert datagrams.overhead(Pong(bytes(12), to, now, seen)) <= AMPLIFICATION * ping
    assert datagrams.overhead(Stored(bytes(12), to, now, seen, refused)) <= AMPLIFICATION * store


def test_a_padded_query_pays_for_the_largest_answer() -> None:
    bare = datagrams.overhead(FindValue(bytes(12), bytes(20), bytes(20)))
    padded = datagrams.overhead(FindValue(bytes(12), bytes(20), bytes(20), datagrams.padding_for(bare)))
    assert PADDED_BYTES <= padded < PADDED_BYTES + 3
    assert padded * AMPLIFICATION >= MAX_DATAGRAM_BYTES
    assert datagrams.padding_for(MAX_DATAGRAM_BYTES) == b""


@given(st.lists(st.tuples(ids, st.ip_addresses(v=6), st.integers(0, 65535)), max_size=20))
def test_contacts_of_ipv6_are_packed_and_unpacked(found: list[tuple[bytes, object, int]]) -> None:
    plain = [(node, str(host), port) for node, host, port in found if getattr(host, "ipv4_mapped", None) is None]
    assert datagrams.unpack_contacts(datagrams.pack_contacts(plain), v6=True) == plain


@given(st.lists(st.tuples(ids, st.ip_addresses(v=4).map(str), st.integers(0, 65535)), max_size=20))
def test_contacts_of_ipv4_are_packed_and_unpacked(found: list[tuple[bytes, str, int]]) -> None:
    assert datagrams.unpack_contacts(datagrams.pack_contacts(found), v6=False) == found


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_contacts_or_malformed(packed: bytes, v6: bool) -> None:
    step = 38 if v6 else 26
    if len(packed) % step:
        with pytest.raises(MalformedMessage):
            datagrams.unpack_contacts(packed, v6=v6)
    else:
        assert len(datagrams.unpack_contacts(packed, v6=v6)) == len(packed) // step


@given(st.binary(max_size=20).filter(lambda packed: len(packed) not in {6, 18}))
def test_an_address_has_6_or_18_bytes(packed: bytes) -> None:
    with pytest.raises(MalformedMessage):
        datagrams.unpack_address(packed)


def test_zones_and_mapped_addresses_are_told_as_what_they_are_elsewhere() -> None:
    assert datagrams.unpack_address(datagrams.pack_address("fe80::1%eth0", 5)) == ("fe80::1", 5)
    assert datagrams.unpack_address(datagrams.pack_address("::ffff:192.0.2.7", 5)) == ("192.0.2.7", 5)
