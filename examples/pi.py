"""Pi from random points, by how many of them fall within the circle.

shoal run examples/pi.py
shoal run examples/pi.py --arg points=100000000 --partitions 200
"""

from p2p.jobs import Inputs, rng

BLOCK = 100_000


def inside(count: int) -> int:
    """How many of `count` random points in the unit square lie within the quarter circle."""
    random = rng().random  # each unit has its own, and the same if it is run again
    return sum(random() ** 2 + random() ** 2 < 1 for _ in range(count))


def job(inputs: Inputs, points: int = 10_000_000) -> float:
    blocks = max(1, points // BLOCK)
    hits: int = inputs.range(blocks).map(lambda _: inside(BLOCK)).sum()
    return 4 * hits / (blocks * BLOCK)
