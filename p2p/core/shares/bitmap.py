"""Sets of chunks as Python integers: bit i is chunk i.

Big-integer operations run at memory speed in C, so sets of 131,072 chunks (1 TiB) are united, intersected and searched
in microseconds, and code that makes decisions with them looks like set algebra.
"""

import re
from collections.abc import Iterator, Sequence

_RUN = re.compile("1+")


def span(first: int, count: int) -> int:
    """The chunks first .. first + count - 1."""
    return ((1 << count) - 1) << first


def of(ranges: Sequence[tuple[int, int]]) -> int:
    """The union of (first, count) ranges, which ascend and do not overlap; linear in the highest member."""
    if not ranges:
        return 0
    packed = bytearray((ranges[-1][0] + ranges[-1][1]) // 8 + 1)
    for first, count in ranges:
        at, end = first >> 3, first + count >> 3
        if at == end:
            packed[at] |= ((1 << count) - 1) << (first & 7)
            continue
        packed[at] |= 0xFF << (first & 7) & 0xFF
        packed[at + 1 : end] = b"\xff" * (end - at - 1)
        if rest := first + count & 7:
            packed[end] |= (1 << rest) - 1
    return int.from_bytes(packed, "little")


def lowest(bits: int) -> int:
    """The smallest member of a non-empty set."""
    return (bits & -bits).bit_length() - 1


def nth(bits: int, rank: int) -> int:
    """The member with `rank` members below it. Found by halving, in time linear in the size of the set."""
    position, width = 0, bits.bit_length()
    while width > 1:
        half = width // 2
        low = bits & ((1 << half) - 1)
        below = low.bit_count()
        if rank < below:
            bits, width = low, half
        else:
            bits, width = bits >> half, width - half
            position, rank = position + half, rank - below
    return position


def run_length(bits: int, first: int, most: int) -> int:
    """How many consecutive members start at `first`, at most `most`."""
    window = (bits >> first) & ((1 << most) - 1)
    return lowest(~window)


def runs(bits: int) -> Iterator[tuple[int, int]]:
    """The set as maximal (first, count) ranges, ascending."""
    if not bits:
        return
    base = lowest(bits)
    from_base = bits >> base
    if not from_base & (from_base + 1):
        yield base, from_base.bit_length()  # as for most: all chunks of a share, or the first of them
        return
    for match in _RUN.finditer(f"{from_base:b}"[::-1]):
        yield base + match.start(), match.end() - match.start()


def members(bits: int) -> Iterator[int]:
    """The members, ascending."""
    for first, count in runs(bits):
        yield from range(first, first + count)


def to_bytes(bits: int, size: int) -> bytes:
    """The first `size` bits, least significant first, as bytes."""
    return bits.to_bytes((size + 7) // 8, "little")


def from_bytes(data: bytes | bytearray) -> int:
    """The inverse of `to_bytes`."""
    return int.from_bytes(data, "little")
