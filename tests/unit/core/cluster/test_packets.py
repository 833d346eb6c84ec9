"""What is taken from other members: packets that a kernel would have made, from their own addresses."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.cluster.packets import ICMP, IP, TCP, UDP, VNET, address_of, index_of, is_sound
from tests.support.clusters.packets import ip, tcp, tcp_packet, tcp_segments, udp, udp_packet, vnet

ONE, OTHER = address_of(1), address_of(2)


def taken(packet: bytes) -> bool:
    """Whether member 2 takes the packet from member 1."""
    return is_sound(packet, ONE, OTHER)


SOUND = {
    "tcp": tcp_packet(1, 2, b"data"),
    "tcp, with its checksum": vnet() + ip(1, 2, TCP, tcp(b"data")),
    "tcp in segments": tcp_segments(1, 2, bytes(60_000), 1448),
    "tcp with an odd hint": vnet(1, 1, 66, 1448, 20, 16) + ip(1, 2, TCP, tcp(bytes(3000))),
    "udp": udp_packet(1, 2, b"data"),
    "udp, empty": udp_packet(1, 2),
    "udp in segments": vnet(1, 5, 28, 1000, 20, 6) + ip(1, 2, UDP, udp(bytes(50_000))),
    "ping": vnet() + ip(1, 2, ICMP, b"\x08\0\0\0\0\1\0\1"),
    "a fragment": vnet() + ip(1, 2, UDP, bytes(800), fragment=0x2000),
    "a later fragment": vnet() + ip(1, 2, UDP, bytes(800), fragment=100),
    "the largest": vnet() + ip(1, 2, UDP, bytes(65515)),
}
UNSOUND = {
    "nothing": b"",
    "no packet": vnet(),
    "half a header": vnet() + ip(1, 2, TCP, b"")[:19],
    "from another": vnet() + ip(3, 2, TCP, tcp()),
    "for another": vnet() + ip(1, 3, TCP, tcp()),
    "to all": vnet() + ip(1, 254, TCP, tcp()),
    "IPv6": vnet() + b"\x60" + ip(1, 2, TCP, tcp())[1:],
    "with options": vnet() + b"\x46" + ip(1, 2, TCP, tcp())[1:],
    "longer than it says": tcp_packet(1, 2) + b"\0",
    "shorter than it says": tcp_packet(1, 2)[:-1],
    "with a longer head than it has": vnet(0, 0, 5000) + ip(1, 2, TCP, tcp()),
    "a fragment beyond the end": vnet() + ip(1, 2, UDP, bytes(65000), fragment=0x1FFF),
    "flag 2": vnet(2) + ip(1, 2, TCP, tcp()),
    "flag 3": vnet(3, 0, 0, 0, 20, 16) + ip(1, 2, TCP, tcp()),
    "checksum elsewhere": vnet(1, 0, 0, 0, 24, 16) + ip(1, 2, TCP, tcp(bytes(99))),
    "checksum before": vnet(1, 0, 0, 0, 0, 10) + ip(1, 2, TCP, tcp()),
    "checksum of UDP in TCP": vnet(1, 0, 0, 0, 20, 6) + ip(1, 2, TCP, tcp()),
    "checksum of ICMP": vnet(1, 0, 0, 0, 20, 2) + ip(1, 2, ICMP, bytes(64)),
    "checksum of a fragment": vnet(1, 0, 0, 0, 20, 6) + ip(1, 2, UDP, udp(bytes(99)), fragment=0x2000),
    "checksum of half a head": vnet(1, 0, 0, 0, 20, 16) + ip(1, 2, TCP, tcp()[:19]),
    "UFO": vnet(1, 3, 28, 1000, 20, 6) + ip(1, 2, UDP, udp(bytes(5000))),
    "TCP over IPv6": vnet(1, 4, 40, 1000, 20, 16) + ip(1, 2, TCP, tcp(bytes(5000))),
    "TCP with ECN": vnet(1, 0x81, 40, 1000, 20, 16) + ip(1, 2, TCP, tcp(bytes(5000))),
    "segments without checksum": vnet(0, 1, 40, 1000) + ip(1, 2, TCP, tcp(bytes(5000))),
    "segments of TCP in UDP": vnet(1, 1, 40, 1000, 20, 6) + ip(1, 2, UDP, udp(bytes(5000))),
    "segments of UDP in TCP": vnet(1, 5, 40, 1000, 20, 16) + ip(1, 2, TCP, tcp(bytes(5000))),
    "segments of nothing": tcp_segments(1, 2, bytes(5000), 0),
    "segments of a byte": tcp_segments(1, 2, bytes(5000), 1),
    "segments without data": tcp_segments(1, 2, b"", 1000),
    "too many datagrams": vnet(1, 5, 28, 100, 20, 6) + ip(1, 2, UDP, udp(bytes(50_000))),
    "options beyond the end": vnet(1, 1, 40, 1000, 20, 16) + ip(1, 2, TCP, tcp()[:12] + b"\xf0" + tcp()[13:]),
    "a head that ends in itself": vnet(1, 1, 40, 9, 20, 16) + ip(1, 2, TCP, tcp()[:12] + b"\x40" + tcp(b"abc")[13:]),
}


@pytest.mark.parametrize("packet", SOUND.values(), ids=SOUND.keys())
def test_what_kernels_make_is_taken(packet: bytes) -> None:
    assert taken(packet)
    assert taken(memoryview(packet))  # type: ignore[arg-type]
    assert not is_sound(packet, OTHER, OTHER)
    assert not is_sound(packet, ONE, ONE)


@pytest.mark.parametrize("packet", UNSOUND.values(), ids=UNSOUND.keys())
def test_what_no_kernel_makes_is_dropped(packet: bytes) -> None:
    assert not taken(packet)


def test_members_have_addresses() -> None:
    assert [index_of(address_of(index)) for index in (0, 1, 253)] == [0, 1, 253]
    assert index_of(bytes((10, 77, 0, 0))) == -1
    assert index_of(bytes((192, 0, 2, 1))) == -1


@given(st.binary(max_size=200))
def test_any_bytes_are_judged(packet: bytes) -> None:
    assert not taken(packet)


@given(
    st.tuples(st.integers(0, 255), st.integers(0, 255), *[st.integers(0, 65535)] * 4),
    st.sampled_from([TCP, UDP, ICMP, 0, 41, 132]),
    st.one_of(st.binary(max_size=80), st.integers(0, 65515).map(bytes)),
    st.integers(0, 0xFFFF),
)
def test_nothing_that_is_taken_reaches_beyond_itself(
    header: tuple[int, ...], protocol: int, body: bytes, fragment: int
) -> None:
    packet = VNET.pack(*header) + ip(1, 2, protocol, body, fragment=fragment)
    flags, kind, headers, segment, start, offset = header
    if taken(packet):
        size = len(packet) - VNET.size
        assert flags in (0, 1)
        assert kind in (0, 1, 5)
        assert headers <= size
        if flags:
            assert start + offset + 2 <= size
            assert start == IP.size
        if kind:
            assert flags
            assert segment > 0
            assert len(body) / segment <= 65536 / 8
        if kind == 1:
            assert (packet[VNET.size + 32] >> 4) * 4 < len(body)


@given(st.sampled_from(sorted(SOUND)), st.integers(0, VNET.size + IP.size - 1), st.integers(0, 255))
def test_a_changed_head_makes_no_other_sender_or_target(name: str, at: int, value: int) -> None:
    packet = bytearray(SOUND[name])
    packet[at] = value
    if taken(bytes(packet)):
        assert packet[VNET.size + 12 : VNET.size + 20] == ONE + OTHER
        assert struct.unpack_from(">H", packet, VNET.size + 2)[0] == len(packet) - VNET.size
