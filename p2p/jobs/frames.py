"""Frames, in which peer and guest exchange messages over a pipe: each is a JSON header and blobs.

A frame is its length (4 bytes, big-endian, counting all that follows), the header's length (4 bytes), the header, and
the blobs one after another. The header's `blobs` gives their lengths.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_HEADER_BYTES = 1024 * 1024
LENGTH_BYTES = 4
_STEP_BYTES = 64 * 1024
_LENGTHS = struct.Struct(">II")
_DONE = b'{"ok": "unit", "records_in": %d, "records_out": %d, "blobs": [%s]}'
_read_header = json.JSONDecoder().raw_decode
"""Called directly, because what `json.loads` does around it takes a guest longer than the decoding itself."""


class BadFrame(ValueError):
    """Raised for bytes that are not a frame, or a frame that exceeds the bounds."""


def pack(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """Makes a frame, with its length in front. Raises BadFrame if it exceeds the bounds."""
    return _frame(json.dumps(header | {"blobs": [len(blob) for blob in blobs]}).encode(), blobs)


def pack_done(records_in: int, records_out: int, blobs: Sequence[bytes]) -> bytes:
    """Makes the answer to a finished unit: the same bytes as `pack` makes, in a tenth of the time, because there are
    many.
    """
    sizes = b", ".join([b"%d" % len(blob) for blob in blobs])
    return _frame(_DONE % (records_in, records_out, sizes), blobs)


def _frame(text: bytes, blobs: Sequence[bytes]) -> bytes:
    size = LENGTH_BYTES + len(text) + sum(map(len, blobs))
    if len(text) > MAX_HEADER_BYTES or size > MAX_FRAME_BYTES:
        raise BadFrame(
            f"An answer has {size} bytes and a header of {len(text)}; {MAX_FRAME_BYTES} and {MAX_HEADER_BYTES} are "
            "allowed. No option changes this limit: make more --partitions, or make less of each record."
        )
    return b"".join([_LENGTHS.pack(size, len(text)), text, *blobs])


def receive(stream: BinaryIO) -> tuple[dict[str, Any], list[bytes]] | None:
    """Reads a frame: its header and its blobs. Reads each separately, so that it is in memory only once.

    None at the end.

    Raises BadFrame; and MemoryError for a frame too large for memory, which is then read to its end and dropped.
    """
    start = stream.read(2 * LENGTH_BYTES)
    if not start:
        return None
    if len(start) < 2 * LENGTH_BYTES:
        raise BadFrame("the stream ended within a frame")
    size, length = _LENGTHS.unpack(start)
    room = size - LENGTH_BYTES - length
    if size > MAX_FRAME_BYTES or length > MAX_HEADER_BYTES or room < 0:
        raise BadFrame("the lengths at the frame's start are wrong")
    try:
        text = _exactly(stream, length).decode()
        header, end = _read_header(text)
        sizes = header["blobs"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadFrame("the header is no JSON object with blobs") from error
    if end != len(text) or not isinstance(header, dict) or not isinstance(sizes, list):
        raise BadFrame("the header is no JSON object with blobs")
    blobs: list[bytes] = []
    if not sizes and not room:
        return header, blobs
    if any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) != room:
        raise BadFrame("the blobs' lengths do not add up")
    try:
        for size in sizes:
            blobs.append(_exactly(stream, size))
            room -= size
    except MemoryError:
        blobs.clear()
        while room > 0:  # the read that failed has taken nothing
            room -= len(_exactly(stream, min(room, _STEP_BYTES)))
        raise
    return header, blobs


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise BadFrame("the stream ended within a frame")
    return data
