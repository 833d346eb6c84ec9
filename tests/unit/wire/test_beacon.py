"""Beacons: read as they were written, by who is of the network; anything else is malformed or proves nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import MalformedMessage
from p2p.identity import Identity
from p2p.ids import H
from p2p.wire.beacon import BEACON_BYTES, MAGIC, START_BYTES, BeaconCodec, BeaconKind
from p2p.wire.signatures import Purpose, to_sign

IDENTITY = Identity.generate()
READER = BeaconCodec(Identity.generate(), "tests", bytes(START_BYTES))

starts = st.binary(min_size=START_BYTES, max_size=START_BYTES)
kinds = st.sampled_from(BeaconKind)
ports = st.integers(0, 65535)


def by_hand(said: bytes, purpose: Purpose = Purpose.BEACON, network: str = "tests", shown: str = "tests") -> bytes:
    """Whatever is said, with a right signature."""
    named = H("network", shown.encode())
    return MAGIC + named[:4] + IDENTITY.peer_id + said + IDENTITY.sign(to_sign(purpose, network, said))


SAID = bytes(START_BYTES) + (7).to_bytes(4, "big") + b"\2" + (7474).to_bytes(2, "big")


@given(starts, st.lists(st.tuples(kinds, ports), min_size=1, max_size=5))
def test_what_is_written_is_read_and_proven(start: bytes, said: list[tuple[BeaconKind, int]]) -> None:
    codec = BeaconCodec(IDENTITY, "tests", start)
    for number, (kind, port) in enumerate(said, 1):
        written = codec.write(kind, port)
        assert len(written) == BEACON_BYTES == 118
        read = READER.read(written)
        assert READER.proven(read)
        assert read[:5] == (IDENTITY.peer_id, start, number, kind, port)


def test_the_layout_is_the_documented_one() -> None:
    read = READER.read(by_hand(SAID))
    assert READER.proven(read)
    assert read[:5] == (IDENTITY.peer_id, bytes(START_BYTES), 7, BeaconKind.HERE, 7474)


@given(kinds, ports, st.integers(0, BEACON_BYTES * 8 - 1))
def test_no_bit_can_be_turned(kind: BeaconKind, port: int, at: int) -> None:
    turned = bytearray(BeaconCodec(IDENTITY, "tests", bytes(START_BYTES)).write(kind, port))
    turned[at // 8] ^= 1 << at % 8
    try:
        read = READER.read(bytes(turned))
    except MalformedMessage:
        return
    assert not READER.proven(read)


@given(st.binary(max_size=2 * BEACON_BYTES))
def test_any_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        READER.read(data)


@given(st.binary(min_size=BEACON_BYTES - 7, max_size=BEACON_BYTES - 7))
def test_of_any_bytes_after_the_right_beginning_nothing_is_proven(rest: bytes) -> None:
    try:
        read = READER.read(by_hand(SAID)[:7] + rest)
    except MalformedMessage:
        return
    assert not READER.proven(read)


@pytest.mark.parametrize("length", [*range(BEACON_BYTES), *range(BEACON_BYTES + 1, 300), 65507])
def test_another_length_is_malformed(length: int) -> None:
    with pytest.raises(MalformedMessage, match="length"):
        READER.read((by_hand(SAID) * (length // BEACON_BYTES + 1))[:length])


@pytest.mark.parametrize("kind", [0, 4, 5, 127, 128, 255])
def test_another_kind_is_malformed(kind: int) -> None:
    with pytest.raises(MalformedMessage, match=f"kind {kind}"):
        READER.read(by_hand(SAID[:12] + bytes([kind]) + SAID[13:]))


def test_another_network_is_something_else() -> None:
    for name in ("Tests", "tests ", "", "main"):
        with pytest.raises(MalformedMessage, match="something else"):
            READER.read(by_hand(SAID, shown=name))


def test_the_whole_name_of_the_network_is_signed() -> None:
    """The four bytes in the open are only to drop others' beacons cheaply: they can be alike by chance."""
    assert not READER.proven(READER.read(by_hand(SAID, network="other")))


def test_a_signature_for_something_else_is_none() -> None:
    for purpose in set(Purpose) - {Purpose.BEACON}:
        assert not READER.proven(READER.read(by_hand(SAID, purpose)))


def test_a_beacon_in_the_name_of_somebody_else_proves_nothing() -> None:
    stolen = bytearray(by_hand(SAID))
    stolen[7:39] = Identity.generate().peer_id
    assert not READER.proven(READER.read(bytes(stolen)))
