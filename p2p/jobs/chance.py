"""Makes a unit's random numbers the same in every run: they follow from the job's seed and the unit's place in the job.

The seed is the one that the user gives with `--seed`. Without it, it is the one that the job's modules give to
`random.seed` when they are imported. Otherwise it is drawn for each run of the job, from the job's id.
"""

import importlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple


class _Chance:
    place, twist = "", 0
    seed: int | None = None
    generator: random.Random | None = None
    shared = True
    """Whether code outside this package may draw from `random`."""
    seeding = False


def drawn(job: str) -> int:
    """The seed of a job that is given none, from its id."""
    return int.from_bytes(sha256(job.encode()).digest()[:4], "big")


@contextmanager
def seeds() -> Iterator[list[str]]:
    """Notes calls of `random.seed` while the body imports the job: the state of `random` after each, as a digest."""
    found: list[str] = []
    seed = random.seed

    def noted(*arguments: Any, **named: Any) -> None:
        seed(*arguments, **named)
        if not _Chance.seeding:
            found.append(sha256(repr(random.getstate()).encode()).hexdigest())

    random.seed = noted
    try:
        yield found
    finally:
        if random.seed is noted:  # not loaded again
            random.seed = seed


def reset(place: str, twist: int = 0) -> None:
    """Seeds the randomness of one unit (its `place`: job/action/stage/partition): `rng()`, `random` and, if loaded,
    numpy's.

    `twist` changes all but `rng()`: if two runs that should be alike then differ, the job's code drew from elsewhere.
    """
    _Chance.place, _Chance.twist = place, twist
    _Chance.seed = _Chance.generator = None
    if _Chance.shared:
        _seed_shared()


class Kept(NamedTuple):
    """Where the randomness of `job` was when it came to an action."""

    place: str
    twist: int
    seed: int | None
    generator: random.Random | None
    shared: Any
    numpy: Any


def keep() -> Kept:
    """Returns what `restore` needs, so that units may run while `job` waits for their results."""
    shared = random.getstate() if _Chance.shared else None
    numpy = importlib.import_module("numpy.random").get_state() if "numpy" in sys.modules else None
    return Kept(_Chance.place, _Chance.twist, _Chance.seed, _Chance.generator, shared, numpy)


def restore(kept: Kept) -> None:
    """Goes on with the randomness of `job`. What only a unit has imported begins as if `job` had imported it now."""
    _Chance.place, _Chance.twist, _Chance.seed, _Chance.generator = kept[:4]
    if _Chance.shared and (kept.shared is None or (kept.numpy is None and "numpy" in sys.modules)):
        _seed_shared()
    if kept.shared is not None:
        random.setstate(kept.shared)
    if kept.numpy is not None:
        importlib.import_module("numpy.random").set_state(kept.numpy)


def is_drawn_from() -> bool:
    """Whether something has drawn from `random` or numpy's since `reset`, or seeded them."""
    now = keep()
    found = _next()
    reset(now.place, now.twist)
    fresh = _next()
    restore(now)
    return found != fresh


def _next() -> list[float]:
    """What `random` and numpy's would give next."""
    given = [random.random()] if _Chance.shared else []
    if "numpy" in sys.modules:
        given.append(float(importlib.import_module("numpy.random").random_sample()))
    return given


def rng() -> random.Random:
    """Returns this unit's random generator, always the same one.

    Each unit has its own, equal in every run of the unit.
    """
    if _Chance.generator is None:
        _Chance.generator = random.Random(_seed())
    return _Chance.generator


def sampler(place: int) -> random.Random:
    """Returns a random generator for one operation of this unit only."""
    return random.Random(_seed() + 1 + place)


def seed_when_imported() -> None:
    """Puts off seeding `random` until somebody imports it. A guest calls this before it imports a job.

    Seeding takes as long as everything else before a small unit. No module loaded earlier may have imported `random`.
    """
    if "numpy" not in sys.modules:
        _Chance.shared = False
        del sys.modules["random"]
        sys.meta_path.insert(0, _Importer())


class _Importer:
    """Supplies `random` to the first module that imports it; from then on, `random` is seeded for every unit."""

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
    _Chance.seeding = True
    random.seed(seed)
    _Chance.seeding = False
    if "numpy" in sys.modules:  # it loads its own `random` only on first use, with an arbitrary seed
        importlib.import_module("numpy.random").seed(seed % 2**32)
