"""Chance that every run of a unit sees alike: all of it follows from the job and the unit's place in it."""

import importlib
import random
import sys
from hashlib import sha256


class _Chance:
    seed = 0
    generator: random.Random | None = None


def reset(place: str, twist: int = 0) -> None:
    """Starts the chance of one unit (its `place`: job/action/stage/partition): `rng()`, `random` and, where loaded,
    numpy's.

    `twist` changes all but `rng()`: what differs between two runs that should be alike shows who did not ask it.
    """
    _Chance.seed = int.from_bytes(sha256(place.encode()).digest(), "big")
    _Chance.generator = None
    random.seed(_Chance.seed + twist)
    if "numpy" in sys.modules:  # which loads its own `random` only when somebody asks for it, seeded by who knows what
        importlib.import_module("numpy.random").seed((_Chance.seed + twist) % 2**32)


def rng() -> random.Random:
    """The generator of this unit, the same one all through it. Every unit has its own, every run of it the same."""
    if _Chance.generator is None:
        _Chance.generator = random.Random(_Chance.seed)
    return _Chance.generator


def sampler(place: int) -> random.Random:
    """A generator for one operation of this unit, which nothing else draws from."""
    return random.Random(_Chance.seed + 1 + place)
