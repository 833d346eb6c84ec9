"""kill -9 during jobs, as often as wanted: `python -m scripts.bench.kills ROUNDS [SEED]`; see `tests.support.fleet`."""

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.fleet import VICTIMS, Fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    given = parser.parse_args()
    rounds, chance = given.rounds, random.Random(given.seed)
    resumed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder)) as fleet:
        for number in range(rounds):
            victim = chance.choice(VICTIMS)
            started = time.monotonic()
            outcome = fleet.round(victim, chance)
            resumed[victim] += bool(outcome.code)
            print(f"{number}: {victim}, {'resumed' if outcome.code else 'right'}, {time.monotonic() - started:.1f} s")
    print(f"{rounds} rounds right; resumed: {dict(resumed)}")


if __name__ == "__main__":
    main()
