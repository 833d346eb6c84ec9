"""The sum of a random array of 10,000 x 10,000 numbers, made and added up in blocks of rows.

shoal run examples/array_sum.py --runtime python-wasm-science

Without numpy the blocks are lists, and the array is smaller.
"""

import random

from p2p.jobs import Inputs

try:
    import numpy
except ImportError:
    numpy = None

ROWS = 100
WITHOUT_NUMPY = 300


def block_sum(block: int, rows: int, columns: int) -> float:
    """The sum of one block of rows. Its values depend only on the block's number, not on who computes it."""
    if numpy is None:
        draw = random.Random(block).random
        return sum(draw() for _ in range(rows * columns))
    return float(numpy.random.default_rng(block).random((rows, columns)).sum())


def job(inputs: Inputs, size: int = 10_000) -> dict[str, float]:
    if numpy is None:
        size = min(size, WITHOUT_NUMPY)
    blocks = [(block, min(ROWS, size - first), size) for block, first in enumerate(range(0, size, ROWS))]
    total = inputs.params(blocks).map(lambda block: block_sum(*block)).sum()
    return {"size": size, "sum": total, "mean": total / size**2}
