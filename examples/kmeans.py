"""K-means: groups points around k centres, which move until they come to rest. One action for each step.

shoal run examples/kmeans.py --input POINTS.csv --arg k=3

The input has one point per line, with its coordinates separated by commas.
"""

from p2p.jobs import Dataset, Inputs

Point = list[float]


def distance(one: Point, other: Point) -> float:
    """The square of the distance."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def add(one: Point, other: Point) -> Point:
    return [a + b for a, b in zip(one, other, strict=True)]


def nearest(point: Point, centres: list[Point]) -> int:
    return min(range(len(centres)), key=lambda index: distance(point, centres[index]))


def farthest(points: Dataset[Point], centres: list[Point]) -> Point:
    """The point that is farthest from all centres."""
    return points.max(key=lambda point: min(distance(point, centre) for centre in centres))


def moved(points: Dataset[Point], centres: list[Point]) -> list[Point]:
    """Each centre moved to the middle of the points that are nearest to it."""
    sums = points.map(lambda point: (nearest(point, centres), [*point, 1.0])).reduce_by_key(add).collect()
    middles = {index: [part / total[-1] for part in total[:-1]] for index, total in sums}
    return [middles.get(index, centre) for index, centre in enumerate(centres)]


def job(inputs: Inputs, k: int = 3, rounds: int = 50) -> list[Point]:
    points = inputs.lines().filter(str.strip).map(lambda line: [float(part) for part in line.split(",")])
    centres = points.take(1)
    while len(centres) < k:
        centres.append(farthest(points, centres))
    for _ in range(rounds):
        before, centres = centres, moved(points, centres)
        if before == centres:
            break
    return sorted(centres)
