"""Packets in data frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.cluster.batches import packed, unpacked
from p2p.core.cluster.packets import MAX_PACKET_BYTES
from p2p.errors import ProtocolViolation


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20))
def test_packets_come_out_as_they_went_in(packets: list[bytes]) -> None:
    offset, body = packed(packets)
    assert list(unpacked(offset, memoryview(body))) == packets


def test_one_packet_travels_as_it_is() -> None:
    packet = bytes(60_000)
    assert packed([packet])[1] is packet


@given(st.integers(0, 3), st.binary(max_size=60))
def test_any_bytes_are_packets_or_a_violation(offset: int, body: bytes) -> None:
    try:
        found = list(unpacked(offset, memoryview(body)))
    except ProtocolViolation:
        return
    assert sum(map(len, found)) <= len(body)


@pytest.mark.parametrize(
    ("offset", "body"),
    [(2, b"abc"), (0, b"\0\0"), (0, b"\0\0\0\5abcd"), (0, b"\xff\xff\xff\xff"), (1, bytes(MAX_PACKET_BYTES + 1))],
)
def test_what_is_no_batch_ends_the_connection(offset: int, body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        list(unpacked(offset, memoryview(body)))
