"""The form of a ClientHello, with which TLS begins (RFC 8446, 4.1.2 and 5.1), as far as it is checked beforehand.

TLS does its costly work once it has a whole one. Dialers of Shoal send theirs in one TLS record.
"""

from p2p.errors import MalformedMessage

MAX_BYTES = 8 * 1024
"""The largest ClientHello, with its headers, that is accepted; those of today's libraries have less than 2 KiB."""
_RECORD, _MESSAGE = bytes((22, 3)), bytes((1,))
"""The first bytes of a record of a handshake, and of a ClientHello in it."""
_RECORD_BYTES, _MESSAGE_BYTES = 5, 4
"""The sizes of the headers of a record, and of a message in it."""


def is_whole(beginning: bytes) -> bool:
    """Whether a stream that begins like this has all of a ClientHello. Raises MalformedMessage if it has none."""
    record, message = beginning[:_RECORD_BYTES], beginning[_RECORD_BYTES:][:_MESSAGE_BYTES]
    is_one = _RECORD.startswith(record[:2]) and _MESSAGE.startswith(message[:1])
    if len(record) == _RECORD_BYTES:
        size = int.from_bytes(record[3:])
        is_one &= _MESSAGE_BYTES < size <= MAX_BYTES - _RECORD_BYTES
        if len(message) == _MESSAGE_BYTES:
            is_one &= int.from_bytes(message[1:]) == size - _MESSAGE_BYTES
    if not is_one:
        raise MalformedMessage("the connection begins with something else than a ClientHello of TLS")
    return len(message) == _MESSAGE_BYTES and len(beginning) >= _RECORD_BYTES + size
