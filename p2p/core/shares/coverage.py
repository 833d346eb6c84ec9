"""Summaries, in 64 bits, of which parts of a share a peer holds: enough to choose which peer to ask."""

from p2p.wire.records import MAP_BYTES, WHOLE

RANGES = 8 * MAP_BYTES


def coverage(held: int, chunks: int) -> bytes:
    """Which of 64 equal ranges are held completely, in 8 bytes: bit i of byte n, lowest first, is range 8 n + i.

    `held` is a bitmap of chunks. Range r goes from chunk floor(r * chunks / 64) to ceil((r + 1) * chunks / 64), so
    the ranges of a share with fewer chunks overlap.
    """
    if held == (1 << chunks) - 1:
        return WHOLE
    found = 0
    for number in range(RANGES):
        first = number * chunks // RANGES
        count = -(-(number + 1) * chunks // RANGES) - first
        if held >> first & (1 << count) - 1 == (1 << count) - 1:
            found |= 1 << number
    return found.to_bytes(MAP_BYTES, "little")
