"""Frames: how messages and chunk bytes share a connection.

    length (4) | kind (1) | channel (2) | body

All numbers are big-endian; length is that of the body; channel is zero in this version. A control body is one message.
A data body is chunk number (8), offset in the chunk (4), then raw bytes without any encoding, so that they are received
straight into the chunk's buffer. Bounds are checked on the header, before any memory is spent on the body. A data frame
carries at most 256 KiB, so that a `Have` or `Cancel` is never stuck behind a whole chunk.
"""

import struct
from typing import NamedTuple

from p2p.errors import ProtocolViolation
from p2p.wire import messages

HEADER = struct.Struct(">IBH")
DATA_HEADER = struct.Struct(">IBHQI")
CONTROL, DATA = 0, 1
MAX_CONTROL_BYTES = 1024 * 1024
MAX_HANDSHAKE_BYTES = 16 * 1024
MIN_DATA_BYTES, MAX_DATA_BYTES = 1024, 256 * 1024
"""The least and the most bytes of a data frame; the one that ends a chunk may have fewer."""
_DATA_PREFIX = DATA_HEADER.size - HEADER.size


class DataHeader(NamedTuple):
    """The header of a data body: `size` raw bytes of a chunk, which begin `offset` bytes into the chunk."""

    chunk: int
    offset: int
    size: int


class ControlHeader(NamedTuple):
    """The header of a control body of `size` bytes."""

    size: int


def control_frame(message: messages.AnyMessage) -> bytes:
    """The message as a frame."""
    body = messages.encode(message)
    assert len(body) <= MAX_CONTROL_BYTES, "our own messages keep to the bounds"
    return HEADER.pack(len(body), CONTROL, 0) + body


def data_header(chunk: int, offset: int, size: int) -> bytes:
    """The header of a data frame with `size` raw bytes."""
    return DATA_HEADER.pack(_DATA_PREFIX + size, DATA, 0, chunk, offset)


def parse_header(
    buffer: bytes | bytearray | memoryview, start: int, available: int, max_control: int
) -> ControlHeader | DataHeader | None:
    """The frame header at `start`, or None if `available` bytes do not hold all of it yet.

    Raises ProtocolViolation for a kind, channel or length out of bounds.
    """
    if available < HEADER.size:
        return None
    length, kind, channel = HEADER.unpack_from(buffer, start)
    if channel != 0:
        raise ProtocolViolation(f"a frame on channel {channel}")
    if kind == CONTROL:
        if length > max_control:
            raise ProtocolViolation(f"a control frame of {length} bytes")
        return ControlHeader(length)
    if kind != DATA:
        raise ProtocolViolation(f"a frame of unknown kind {kind}")
    if not _DATA_PREFIX < length <= _DATA_PREFIX + MAX_DATA_BYTES:
        raise ProtocolViolation(f"a data frame of {length} bytes")
    if available < DATA_HEADER.size:
        return None
    _, _, _, chunk, offset = DATA_HEADER.unpack_from(buffer, start)
    return DataHeader(chunk, offset, length - _DATA_PREFIX)
