"""Chance that every run of a unit sees alike: all of it follows from the job and the unit's place in it."""

import importlib
import random
import sys
from hashlib import sha256
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Chance:
    place, twist = "", 0
    seed: int | None = None
    generator: random.Random | None = None
    shared = True
    """Whether somebody besides this package may draw from `random`."""


def reset(place: str, twist: int = 0) -> None:
    """Starts the chance of one unit (its `place`: job/action/stage/partition): `rng()`, `random` and, where loaded,
    numpy's.

    `twist` changes all but `rng()`: what differs between two runs that should be alike shows who did not ask it.
    """
    _Chance.place, _Chance.twist = place, twist
    _Chance.seed = _Chance.generator = None
    if _Chance.shared:
        _seed_shared()


def rng() -> random.Random:
    """The generator of this unit, the same one all through it. Every unit has its own, every run of it the same."""
    if _Chance.generator is None:
        _Chance.generator = random.Random(_seed())
    return _Chance.generator


def sampler(place: int) -> random.Random:
    """A generator for one operation of this unit, which nothing else draws from."""
    return random.Random(_seed() + 1 + place)


def seed_when_imported() -> None:
    """For a guest before it imports a job: `random` is seeded from the moment on at which somebody imports it.

    To seed it takes as long as all else that is done before a small unit. What is loaded already must not have it.
    """
    if "numpy" not in sys.modules:
        _Chance.shared = False
        del sys.modules["random"]
        sys.meta_path.insert(0, _Importer())


class _Importer:
    """Has `random` for whoever is the first to import it."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == "random" else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return random

    def exec_module(self, module: ModuleType) -> None:
        _Chance.shared = True
        _seed_shared()


def _seed() -> int:
    if _Chance.seed is None:
        _Chance.seed = int.from_bytes(sha256(_Chance.place.encode()).digest(), "big")
    return _Chance.seed


def _seed_shared() -> None:
    seed = _seed() + _Chance.twist
    random.seed(seed)
    if "numpy" in sys.modules:  # which loads its own `random` only when somebody asks for it, seeded by who knows what
        importlib.import_module("numpy.random").seed(seed % 2**32)
