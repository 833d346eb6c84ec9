"""Ids: their types, their text form, and the hash that makes them.

Every id is 32 bytes and is shown in lower-case base32 without padding. `H` is the one way to hash structured fields:
its length prefixes make ("ab", "c") and ("a", "bc") differ, and its purpose string keeps different uses apart.
"""

import base64
import binascii
from functools import cache
from typing import NewType

from blake3 import blake3

PeerId = NewType("PeerId", bytes)
"""A peer's Ed25519 public key, 32 bytes."""
ShareId = NewType("ShareId", bytes)
"""The BLAKE3-256 of a share's manifest root, 32 bytes."""
FileId = NewType("FileId", bytes)
"""H("file", size, chunk hashes), 32 bytes: equal files have equal ids."""
ChunkHash = NewType("ChunkHash", bytes)
"""The BLAKE3-256 of a chunk's bytes, 32 bytes."""

ID_BYTES = 32
SHORT_CHARS = 8
COMPARED_CHARS = 16
"""How much of an id people see where they may compare it. A look-alike of `SHORT_CHARS` costs a day of a graphics card;
of this many, nobody can make one.
"""


def H(purpose: str, *fields: bytes) -> bytes:
    """BLAKE3-256 over the purpose and the length-prefixed fields; 32 bytes."""
    hasher = _of(purpose).copy()
    for field in fields:
        hasher.update(len(field).to_bytes(8, "big"))
        hasher.update(field)
    return hasher.digest()


@cache
def _of(purpose: str) -> blake3:
    """The hasher of a purpose. All purposes are the program's own, so the cache stays small."""
    return blake3(derive_key_context=f"shoal {purpose} 1")


def to_text(value: bytes) -> str:
    """The id as text for people: lower-case base32 without padding, 52 characters for 32 bytes."""
    return base64.b32encode(value).decode("ascii").rstrip("=").lower()


def from_text(text: str) -> bytes:
    """The inverse of `to_text`, upper case accepted. Raises ValueError for anything but the text of 32 bytes."""
    if len(text) != (ID_BYTES * 8 + 4) // 5 or not text.isascii():
        raise ValueError("an id has 52 letters and digits")
    try:
        value = base64.b32decode(text.upper() + "====")
    except binascii.Error:
        raise ValueError("an id has only the letters a-z and the digits 2-7") from None
    if to_text(value) != text.lower():
        raise ValueError("the id's last character carries bits that belong to no id")
    return value


def short(value: bytes) -> str:
    """The first 8 characters of an id: enough for people to tell peers apart, not for programs."""
    return to_text(value)[:SHORT_CHARS]


def compared(value: bytes) -> str:
    """As much of an id as people need to compare it with one that they know."""
    return to_text(value)[:COMPARED_CHARS]
