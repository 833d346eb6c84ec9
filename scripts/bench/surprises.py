"""Exceptions behind the walls of peers at work: `python -m scripts.bench.surprises [COUNT] [SEED]`.

Three peers and a tracker in this process share, fetch, search, call and compute without a pause, while exceptions of
many kinds are thrown behind their walls, at entries and in the middle. Afterwards every peer has to be there, hold
nothing, and do all of that once more.
"""

import argparse
import logging
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import trio

from p2p.concurrency import walls
from tests.support.walls.saboteur import Saboteur
from tests.support.walls.ways import Way, Ways, attempt, open_ways
from tests.support.world import World

PAUSE_S = 0.002
REPORT_INTERVAL_S = 10.0


async def run(count: int, random: Random) -> None:
    saboteur = Saboteur(random)
    with tempfile.TemporaryDirectory() as folder, saboteur.watching():
        async with trio.open_nursery() as nursery:
            world = World(Path(folder), nursery)
            async with open_ways(world) as ways:
                await _throw(ways, saboteur, count, random)
                saboteur.armed.clear()
                await ways.hold_nothing()
                for way in ways.all:
                    await way()
                await ways.hold_nothing()
            await world.close()


async def _throw(ways: Ways, saboteur: Saboteur, count: int, random: Random) -> None:
    """Throws until so many bugs were stopped."""
    told = time.monotonic()
    struck: Counter[str] = Counter()
    async with trio.open_nursery() as nursery:
        for way in ways.all:
            nursery.start_soon(_go, way)
        while walls.bugs.count < count:
            name = random.choice(sorted(saboteur.entered) or [""])
            if random.random() < 0.5:
                saboteur.armed.add(name)
            elif saboteur.strike_now(name):
                struck[name] += 1
            await trio.sleep(PAUSE_S)
            if time.monotonic() - told > REPORT_INTERVAL_S:
                told = time.monotonic()
                print(f"{walls.bugs.count:,} stopped", flush=True)
        nursery.cancel_scope.cancel()


async def _go(way: Way) -> None:
    while True:
        await attempt(way)
        await trio.sleep(PAUSE_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    started = time.monotonic()
    trio.run(run, given.count, Random(given.seed))
    print(f"{walls.bugs.count:,} exceptions stopped in {time.monotonic() - started:.0f} s; all peers live")


if __name__ == "__main__":
    main()
