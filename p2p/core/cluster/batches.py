"""Packets in data frames: one alone, as it is, or several, each after its length. The frame's offset says which.

A large packet travels alone, so that its bytes are sent from where they were read and written from where they arrive.
"""

import struct
from collections.abc import Iterator, Sequence

from p2p.core.cluster.packets import MAX_PACKET_BYTES
from p2p.errors import ProtocolViolation

SEVERAL, ALONE = 0, 1
_LENGTH = struct.Struct(">I")


def packed(packets: Sequence[bytes]) -> tuple[int, bytes]:
    """The offset and the body of a frame with these packets."""
    if len(packets) == 1:
        return ALONE, packets[0]
    return SEVERAL, b"".join(piece for packet in packets for piece in (_LENGTH.pack(len(packet)), packet))


def unpacked(offset: int, body: memoryview) -> Iterator[memoryview]:
    """The packets of a frame. Raises ProtocolViolation."""
    if offset == ALONE:
        if len(body) > MAX_PACKET_BYTES:
            raise ProtocolViolation(f"a packet of {len(body)} bytes")
        yield body
        return
    if offset != SEVERAL:
        raise ProtocolViolation(f"packets at offset {offset}")
    at, end = 0, len(body)
    while at < end:
        start = at + _LENGTH.size
        if start > end:
            raise ProtocolViolation("a frame of packets that breaks off")
        at = start + _LENGTH.unpack_from(body, at)[0]
        if at > end:
            raise ProtocolViolation("a packet that is longer than its frame")
        yield body[start:at]
