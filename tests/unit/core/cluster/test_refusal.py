"""Answers in the name of a member that is gone."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.cluster.packets import ICMP, TCP, VNET, address_of, is_sound
from p2p.core.cluster.refusal import refusal
from tests.support.clusters.packets import ACK, RST, SYN, checksum, ip, tcp, tcp_packet, tcp_segments, udp_packet, vnet


def test_data_is_answered_with_a_reset_that_continues_what_was_acknowledged() -> None:
    answer = refusal(tcp_segments(0, 3, bytes(50_000), 1448))
    assert answer is not None
    assert is_sound(answer, address_of(3), address_of(0))
    body = answer[VNET.size :]
    assert struct.unpack_from(">HHIIBB", body, 20) == (8786, 40000, 9, 0, 0x50, RST)
    assert checksum(body[:20]) == 0
    assert checksum(body[12:20] + struct.pack(">HH", TCP, 20) + body[20:]) == 0


def test_a_connection_that_begins_is_refused() -> None:
    answer = refusal(tcp_packet(0, 3, flags=SYN))
    assert answer is not None
    assert struct.unpack_from(">HHIIBB", answer, VNET.size + 20) == (8786, 40000, 0, 1001, 0x50, RST | ACK)


def test_a_datagram_is_answered_with_its_head() -> None:
    packet = udp_packet(0, 3, b"is anybody there")
    answer = refusal(packet)
    assert answer is not None
    assert is_sound(answer, address_of(3), address_of(0))
    body = answer[VNET.size :]
    assert (body[9], body[20:22]) == (ICMP, b"\x03\x03")
    assert checksum(body[20:]) == 0
    assert body[28:] == packet[VNET.size : VNET.size + 28]


@pytest.mark.parametrize(
    "packet",
    [
        tcp_packet(0, 3, flags=RST),
        tcp_packet(0, 3, flags=RST | ACK),
        vnet() + ip(0, 3, ICMP, b"\x08\0\0\0\0\1\0\1"),
        vnet() + ip(0, 3, TCP, tcp(bytes(99)), fragment=100),
        vnet() + ip(0, 3, TCP, tcp()[:19]),
    ],
    ids=["a reset", "a reset that acknowledges", "ping", "a fragment", "half a head"],
)
def test_nothing_else_is_answered(packet: bytes) -> None:
    assert refusal(packet) is None


@given(st.binary(max_size=120))
def test_any_bytes_have_an_answer_or_none(packet: bytes) -> None:
    refusal(packet)
