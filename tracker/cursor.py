"""Cursors: texts that encode where the next page of a list starts, each valid only for one query.

A forged cursor yields only another part of the same answer, but is still checked, like all outside input.
"""

import base64
import binascii
import struct

from p2p.errors import MalformedMessage
from p2p.ids import H

MAX_CURSOR_CHARS = 64
_FORM = struct.Struct(">Qd")
_TAG_BYTES = 6


def seal(question: str, at: int, order: float = 0.0) -> str:
    """Makes the cursor for the part of the list after this place."""
    numbers = _FORM.pack(at, order)
    return _as_text(_tag(question, numbers) + numbers)


def unseal(question: str, text: str) -> tuple[int, float]:
    """The inverse of `seal`. Raises MalformedMessage."""
    try:
        if len(text) > MAX_CURSOR_CHARS:
            raise ValueError
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        tag, numbers = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if len(numbers) != _FORM.size or tag != _tag(question, numbers) or text != _as_text(raw):
            raise ValueError
        at, order = _FORM.unpack(numbers)
    except (ValueError, binascii.Error):
        raise MalformedMessage("This cursor does not belong to this question. Ask again from the start.") from None
    if at >= 1 << 63 or order != order:
        raise MalformedMessage("This cursor makes no sense. Ask again from the start.")
    return at, order


def _as_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _tag(question: str, numbers: bytes) -> bytes:
    return H("cursor", question.encode(errors="replace"), numbers)[:_TAG_BYTES]
