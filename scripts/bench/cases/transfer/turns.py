"""Rounds in which all contenders take turns.

Each runs once a round, a different one first each time: a machine's speed drifts by the minute and only neighbours
compare.
"""

import sys
from collections.abc import Callable, Mapping

from scripts.bench.support.measure import Sample


def take_turns(case: str, contenders: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Runs each contender once per round, a different one first each time; shows progress on stderr."""
    names = list(contenders)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    # The first round does not count: a virtual machine pays dearly for the first touch of its memory.
    for number in range(rounds + 1 if names else 0):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            sample = contenders[name]()
            if number:
                samples[name].append(sample)
            label = f"{number}/{rounds}" if number else "warm-up"
            print(f"{case} {label} {name}: {sample.seconds:.2f} s", file=sys.stderr, flush=True)
    return samples
