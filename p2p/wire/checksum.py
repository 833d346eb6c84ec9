"""The checksum of an id in a link: that of bech32m (BIP 350), over the digits of the base32 in which ids are written.

It notices every change of up to four characters, and misses one in a billion of other changes. The purpose is part of
what is summed, so the id of a share cannot pass for that of a peer.
"""

from collections.abc import Iterable

CHARS = 6
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_BECH32M = 0x2BC830A3
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def with_checksum(purpose: str, digits: str) -> str:
    """The base32 digits, followed by their checksum. Lower case."""
    summed = _sum([*_expanded(purpose), *map(_ALPHABET.index, digits), *[0] * CHARS]) ^ _BECH32M
    return digits + "".join(_ALPHABET[summed >> 5 * (CHARS - 1 - place) & 31] for place in range(CHARS))


def without_checksum(purpose: str, text: str) -> str:
    """The inverse of `with_checksum`. Raises ValueError for a wrong checksum."""
    digits = text[:-CHARS]
    if not set(text) <= set(_ALPHABET) or with_checksum(purpose, digits) != text:
        raise ValueError("the checksum does not match")
    return digits


def _expanded(purpose: str) -> list[int]:
    """BIP 173's expansion of what it calls the human-readable part."""
    return [*[ord(letter) >> 5 for letter in purpose], 0, *[ord(letter) & 31 for letter in purpose]]


def _sum(values: Iterable[int]) -> int:
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            found ^= generator if top >> place & 1 else 0
    return found
