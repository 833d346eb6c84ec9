"""Packets in data frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.cluster.batches import packed, unpacked
from p2p.errors import ProtocolViolation
from tests.support.clusters.packets import udp_packet, vnet

SIZES = st.sampled_from([0, 1, 100, 5000, 16_000, 20_000, 65_000])


@given(st.lists(SIZES, max_size=20))
def test_packets_come_out_as_they_went_in(sizes: list[int]) -> None:
    packets = [udp_packet(1, 2, bytes(size)) for size in sizes]
    assert list(unpacked(memoryview(b"".join(packed(packets))))) == packets


def test_large_packets_are_not_copied_and_small_ones_go_together() -> None:
    small, large = udp_packet(1, 2, b"beat"), udp_packet(1, 2, bytes(60_000))
    pieces = packed([small, small, large, large, small])
    assert pieces == [small * 2, large, large, small]
    assert pieces[1] is pieces[2] is large


@given(st.binary(max_size=60))
def test_any_bytes_are_packets_or_a_violation(body: bytes) -> None:
    try:
        found = list(unpacked(memoryview(body)))
    except ProtocolViolation:
        return
    assert b"".join(found) == body


@pytest.mark.parametrize("body", [b"abc", vnet(), vnet() + b"\x45\0\0\0", vnet() + b"\x45\0\xff\xff" + bytes(60)])
def test_what_is_no_batch_ends_the_connection(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        list(unpacked(memoryview(body)))
