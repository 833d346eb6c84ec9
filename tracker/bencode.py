"""Bencoding for the answers of a BitTorrent tracker; there is no decoder."""

from collections.abc import Mapping, Sequence

Value = int | bytes | str | Sequence["Value"] | Mapping[bytes, "Value"]


def bencode(value: Value) -> bytes:
    """Encodes the value; the keys of a mapping are sorted, as BEP 3 requires."""
    match value:
        case bool():
            raise TypeError("bencoding has no booleans")
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
        case Mapping():
            return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
        case _:
            return b"l" + b"".join(map(bencode, value)) + b"e"
