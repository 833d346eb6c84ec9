"""What is said in the name of a member that is gone, so that engines need not wait for timeouts.

A TCP packet to it is answered with a reset, one of UDP with "port unreachable", which its sender sees as a refused
connection. RFC 9293, 3.5.2, and RFC 792.
"""

import struct

from p2p.core.cluster.packets import ICMP, IP, PLAIN_HEADER, TCP, UDP, VNET, Packet

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_TCP = struct.Struct(">HHIIBBHHH")
_HEADER = struct.Struct(">BBHHHBBH4s4s")
_FRAGMENT_OFFSET = 0x1FFF
_QUOTED_BYTES = 8
_UNREACHABLE, _PORT = 3, 3


def refusal(packet: Packet) -> bytes | None:
    """The answer to an IPv4 packet with a vnet header, which is also one; None where none is due."""
    body = bytes(packet[VNET.size :])
    if len(body) < IP.size:
        return None
    first, _, fragment, protocol, source, target = IP.unpack_from(body)
    head = (first & 15) * 4
    if first >> 4 != 4 or head < IP.size or fragment & _FRAGMENT_OFFSET:
        return None
    if protocol == TCP and len(body) >= head + _TCP.size:
        return _reset(body, head, source, target)
    if protocol == UDP and len(body) >= head + _QUOTED_BYTES:
        quoted = body[: head + _QUOTED_BYTES]
        said = struct.pack(">BBHI", _UNREACHABLE, _PORT, 0, 0) + quoted
        said = said[:2] + struct.pack(">H", _checksum(said)) + said[4:]
        return _from(target, source, ICMP, said)
    return None


def _reset(body: bytes, head: int, source: bytes, target: bytes) -> bytes | None:
    port, other, sequence, acknowledged, offset, flags, *_ = _TCP.unpack_from(body, head)
    if flags & _RST:
        return None
    if flags & _ACK:
        sequence, acknowledged, answer = acknowledged, 0, _RST
    else:
        size = len(body) - head - (offset >> 4) * 4 + bool(flags & _SYN) + bool(flags & _FIN)
        sequence, acknowledged, answer = 0, (sequence + size) & 0xFFFFFFFF, _RST | _ACK
    fields = other, port, sequence, acknowledged, 0x50, answer, 0
    pseudo = target + source + struct.pack(">HH", TCP, _TCP.size)
    checksum = _checksum(pseudo + _TCP.pack(*fields, 0, 0))
    return _from(target, source, TCP, _TCP.pack(*fields, checksum, 0))


def _from(source: bytes, target: bytes, protocol: int, said: bytes) -> bytes:
    fields = 0x45, 0, 20 + len(said), 0, 0x4000, 64, protocol
    checksum = _checksum(_HEADER.pack(*fields, 0, source, target))
    return PLAIN_HEADER + _HEADER.pack(*fields, checksum, source, target) + said


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
