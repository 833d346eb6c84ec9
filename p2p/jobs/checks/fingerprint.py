"""A digest of what a job planned, stable between guests of one Python version.

It covers the operations, with the code of their functions and the values that the functions captured. So a job that
draws a random number while it plans, and uses it in a lambda, has a different digest in every guest, and is detected.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from random import Random
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from p2p.jobs.codec import NotARecord, encode
from p2p.jobs.dataset import Inputs
from p2p.jobs.faults import JobFault
from p2p.jobs.operations import Action, Operation, Shuffle, Stage
from p2p.jobs.sources import Source

_MAX_DEPTH = 12
_OBJECT_STEPS = 4


class _Captured(Exception):
    """Raised for a captured value whose state carries over from call to call."""


Part = Source | Operation | Shuffle | Action


def parts(stages: Sequence[Stage]) -> Iterator[Part]:
    """The parts of a plan, in order."""
    yield stages[0].origin
    for stage in stages:
        yield from stage.operations
        yield stage.sink


def digests(stages: Sequence[Stage]) -> tuple[list[str], list[int]]:
    """A digest for each of `parts`, and the number of bytes that it was made of.

    Raises JobFault for a part that captured a generator.
    """
    found, sizes = [], []
    for part in parts(stages):
        try:
            hashed, size = _hashed(_of_part(part))
        except _Captured as error:
            raise JobFault(str(error), kind="StateKept", place=part.place, operation=part.name) from None
        found.append(hashed)
        sizes.append(size)
    return found, sizes


def digest(value: object) -> str:
    """A digest of any value, equal in every process if the value is."""
    try:
        return _hashed(_of(value, 0))[0]
    except _Captured:
        return ""


def _hashed(told: object) -> tuple[str, int]:
    hashing = sha256()
    size = _feed(told, hashing.update)
    return hashing.hexdigest(), size


def _feed(told: Any, update: Callable[[bytes], None]) -> int:
    """Hashes what `_of` returns. Bytes are hashed as they are: there may be many, and `repr` is slow."""
    if isinstance(told, tuple | list):
        update(b"(%d:" % len(told))
        return sum(_feed(one, update) for one in told)
    data = told if isinstance(told, bytes) else repr(told).encode("utf-8", "surrogatepass")
    update(b"%c%d:" % (b"b" if isinstance(told, bytes) else b"r", len(data)))
    update(data)
    return len(data)


def _of_part(part: Part) -> tuple[Any, ...]:
    match part:
        case Source():
            items = part.items if isinstance(part.items, range) else _of(list(part.items), 0)
            return part.name, part.input, items
        case Operation():
            told = part.name, _of(part.function, 0), part.fraction
            return (*told, "skip") if part.skips else told
        case Shuffle():
            return part.name, _of(part.function, 0), part.partitions
        case Action():
            return part.name, _of(part.function, 0), part.amount, part.form


def _of(value: Any, depth: int) -> Any:
    """Returns whatever part of a value is the same in every process, as strings, bytes and tuples."""
    if depth > _MAX_DEPTH:
        return "deep"
    try:
        return encode(value)
    except NotARecord:
        pass
    if isinstance(value, Random) or hasattr(value, "__next__") or type(value).__module__.startswith("numpy.random"):
        raise _Captured(
            f"a {type(value).__name__} made outside of the operation goes on from unit to unit, and units must not "
            "depend on those before them: make it inside, and take random numbers from rng() there"
        )
    if isinstance(value, Inputs):
        return "inputs", encode([tuple(one) for one in value])
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    inner = depth + 1
    match value:
        case FunctionType():
            cells = [_of_cell(cell, inner) for cell in value.__closure__ or ()]
            return (
                kind,
                _of_code(value.__code__),
                cells,
                _of(value.__defaults__, inner),
                _of(value.__kwdefaults__, inner),
            )
        case partial():
            return kind, _of(value.func, inner), _of(value.args, inner), _of(value.keywords, inner)
        case MethodType():
            return kind, _of(value.__func__, inner), _of(value.__self__, inner)
        case tuple() | list():
            return kind, [_of(item, inner) for item in value]
        case dict():
            return kind, [(_of(key, inner), _of(held, inner)) for key, held in value.items()]
        case type() | ModuleType() | BuiltinFunctionType():
            return kind, getattr(value, "__qualname__", value.__name__)
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        return kind, str(value.dtype), value.tobytes()
    if hasattr(value, "__dict__"):
        return kind, _of(
            vars(value), depth + _OBJECT_STEPS
        )  # a few levels of objects are enough; a whole graph is too much
    return kind, getattr(value, "__qualname__", None)


def _of_cell(cell: Any, depth: int) -> Any:
    try:
        return _of(cell.cell_contents, depth)
    except ValueError:
        return "empty"


@lru_cache(maxsize=4096)
def _of_code(code: CodeType) -> str:
    """A digest, made once: the code of a function is the same in each action of a loop."""
    constants = list(map(_of_constant, code.co_consts))
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    told = code.co_name, code.co_code, constants, names, code.co_flags, code.co_argcount, code.co_kwonlyargcount
    return _hashed(told)[0]


def _of_constant(constant: object) -> Any:
    if isinstance(constant, CodeType):
        return _of_code(constant)
    if isinstance(constant, frozenset):
        return sorted(map(repr, constant))
    return repr(constant)
