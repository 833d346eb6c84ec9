"""Bencoding for the answers of a BitTorrent tracker; there is no decoder."""

from collections.abc import Mapping, Sequence

Value = int | bytes | str | Sequence["Value"] | Mapping[bytes, "Value"]


def bencode(value: Value) -> bytes:
    """Encodes the value; the keys of a mapping are sorted, as BEP 3 requires."""
    if isinstance(value, bool):
        raise TypeError("bencoding has no booleans")
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%b" % (len(value), value)
    if isinstance(value, Mapping):
        return b"d" + b"".join([bencode(key) + bencode(value[key]) for key in sorted(value)]) + b"e"
    return b"l" + b"".join(map(bencode, value)) + b"e"
