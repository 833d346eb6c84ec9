"""Packets in data frames, one after the other: each says itself how long it is.

Large packets are pieces of their own, so that they are sent from where they were read, and written from where they
arrived, without a copy.
"""

import struct
from collections.abc import Iterator, Sequence

from p2p.core.cluster.packets import VNET
from p2p.errors import ProtocolViolation

LARGE_BYTES = 16 * 1024
_LENGTH = struct.Struct(">H")
_LENGTH_AT = VNET.size + 2
"""Where IPv4 has the length of a packet, of which the vnet header is no part."""


def packed(packets: Sequence[bytes]) -> list[bytes]:
    """The pieces of a frame with these packets: the large ones, and between them what small ones there are."""
    pieces: list[bytes] = []
    small: list[bytes] = []
    for packet in packets:
        if len(packet) < LARGE_BYTES:
            small.append(packet)
            continue
        if small:
            pieces.append(b"".join(small))
            small = []
        pieces.append(packet)
    if small:
        pieces.append(b"".join(small))
    return pieces


def unpacked(body: memoryview) -> Iterator[memoryview]:
    """The packets of a frame. Raises ProtocolViolation."""
    at, end = 0, len(body)
    while at < end:
        start = at
        if start + _LENGTH_AT + _LENGTH.size > end:
            raise ProtocolViolation("a frame of packets that breaks off")
        size = _LENGTH.unpack_from(body, start + _LENGTH_AT)[0]
        at = start + VNET.size + size
        if size < _LENGTH.size or at > end:
            raise ProtocolViolation("a packet that is longer than its frame")
        yield body[start:at]
