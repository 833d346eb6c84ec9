"""Frames between the peer and a guest: a JSON header and blobs. A guest is trusted no more than an unknown peer.

    header length (4, big-endian) | header: one JSON object | the blobs one after the other

The header's `blobs` lists their lengths. On a pipe, each frame is preceded by its length in 4 bytes. Blobs are opaque
here: only guests decode what guests wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from p2p.errors import MalformedMessage

MAX_HEADER_BYTES = 1024 * 1024
Text = Annotated[str, msgspec.Meta(max_length=MAX_HEADER_BYTES)]
"""A text in a header."""
MAX_BLOBS = 100_000
_LENGTH = 4

H = TypeVar("H", bound=msgspec.Struct)


class _Lengths(msgspec.Struct):
    blobs: Annotated[list[Annotated[int, msgspec.Meta(ge=0, lt=2**32)]], msgspec.Meta(max_length=MAX_BLOBS)] = []


_lengths = msgspec.json.Decoder(_Lengths)


def encode(header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """A frame. Raises ValueError for a header that is too large."""
    head = msgspec.json.encode({**header, "blobs": [len(blob) for blob in blobs]})
    if len(head) > MAX_HEADER_BYTES:
        raise ValueError(f"the header of a frame has at most {MAX_HEADER_BYTES} bytes")
    return b"".join([len(head).to_bytes(_LENGTH, "big"), head, *blobs])


def decode(frame: bytes, header: type[H]) -> tuple[H, list[bytes]]:
    """Decodes a frame. Returns the header, type-checked, and the blobs. Raises only MalformedMessage, for any bytes."""
    size = int.from_bytes(frame[:_LENGTH], "big")
    at = _LENGTH + size
    if len(frame) < at or size > MAX_HEADER_BYTES:
        raise MalformedMessage("a frame that is cut short")
    raw = frame[_LENGTH:at]
    try:
        lengths = _lengths.decode(raw).blobs
        read = msgspec.json.decode(raw, type=header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"a frame's header that makes no sense: {error}") from None
    if at + sum(lengths) != len(frame):
        raise MalformedMessage("a frame whose blobs are not what its header says")
    blobs = []
    for length in lengths:
        blobs.append(frame[at : at + length])
        at += length
    return read, blobs
