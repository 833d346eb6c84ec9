"""Packets of a cluster's network, made by hand: a vnet header, IPv4, and what is in it."""

import struct

from p2p.core.cluster.packets import TCP, UDP, address_of

SYN, ACK, RST = 2, 16, 4


def checksum(data: bytes) -> int:
    """The Internet checksum: 0 over what has the right one in it."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def vnet(flags: int = 0, kind: int = 0, headers: int = 0, segment: int = 0, start: int = 0, offset: int = 0) -> bytes:
    return struct.pack("<BBHHHH", flags, kind, headers, segment, start, offset)


def ip(source: int, target: int, protocol: int, body: bytes, *, fragment: int = 0x4000) -> bytes:
    """An IPv4 packet from one member to another, without a vnet header."""
    fields = 0x45, 0, 20 + len(body), 7, fragment, 64, protocol
    ends = address_of(source) + address_of(target)
    head = struct.pack(">BBHHHBBH", *fields, 0) + ends
    return struct.pack(">BBHHHBBH", *fields, checksum(head)) + ends + body


def tcp(data: bytes = b"", *, ports: tuple[int, int] = (40000, 8786), flags: int = ACK, ack: int = 9) -> bytes:
    return struct.pack(">HHIIBBHHH", *ports, 1000, ack, 0x50, flags, 512, 0, 0) + data


def udp(data: bytes = b"", *, ports: tuple[int, int] = (40000, 5353)) -> bytes:
    return struct.pack(">HHHH", *ports, 8 + len(data), 0) + data


def tcp_packet(source: int, target: int, data: bytes = b"", **more: object) -> bytes:
    """What a kernel hands over for TCP: its checksum is still to be made."""
    return vnet(1, 0, 0, 0, 20, 16) + ip(source, target, TCP, tcp(data, **more))  # type: ignore[arg-type]


def tcp_segments(source: int, target: int, data: bytes, size: int) -> bytes:
    """What a kernel hands over to be cut into segments of this size."""
    return vnet(1, 1, 40, size, 20, 16) + ip(source, target, TCP, tcp(data))


def udp_packet(source: int, target: int, data: bytes = b"", **more: object) -> bytes:
    return vnet(1, 0, 0, 0, 20, 6) + ip(source, target, UDP, udp(data, **more))  # type: ignore[arg-type]
