"""What a job's code keeps from one call to the next, found by comparing it before and after a unit.

Units must not depend on those before them, because who runs which units is chance. A unit in a process of its own, or
with its modules loaded again, would not help: a set that a filter fills would then hold the records of one partition,
and a count would depend on how the input is cut. So a job that keeps state is refused, with the name of the variable.

Looked at are the variables of the job's own modules, what its operations captured, and everything below these:
containers, attributes of classes, of functions and of objects of the job's classes, defaults, iterators, generators of
random numbers. Caches of `functools` may change. What objects of other packages hold inside is not looked at.

A check compares as many values as there are in changeable containers, at some 20 ns each; a job without such variables
pays 2 µs a unit. Where there are many, units pay for the check with the records that they read.
"""

import ast
import gc
import marshal
import random
from binascii import crc32
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import EnumMeta
from functools import cached_property, partial
from itertools import chain, count
from operator import length_hint
from random import Random
from types import BuiltinFunctionType, CellType, FunctionType, GeneratorType, MethodType, MethodWrapperType, ModuleType
from typing import Any, NamedTuple

from p2p.jobs.codec import LEAVES
from p2p.jobs.faults import Place

MAX_NODES = 20_000
"""The most objects that are looked at one by one; plain containers count as one, with everything inside."""
_FIRST_UNITS = 8
"""How many units are always checked."""
_ALLOWANCE, _CHECK_COST = 32, 128
"""How many values a check may compare for a unit that reads nothing, and how many the smallest check costs."""
_PLAIN_BYTES = 8
"""Roughly how many encoded bytes are compared in the time of one value."""
_OBJECT_COST = 32
_OPEN_CLASSES = frozenset({"types", "argparse", "collections", "queue"})
"""Modules of Python whose classes keep what they are given in plain attributes."""
_CONTAINERS = (list, dict, set, deque, tuple, frozenset)
_NOTHING = object()
_SHARED = getattr(random.random, "__self__", None)
"""The generator of the functions of `random`, which is seeded for every unit."""


class Owner(NamedTuple):
    """What a root of the search belongs to: its name in texts, and where it is in the job."""

    name: str
    place: Place | None = None
    operation: str | None = None
    variable: str = ""
    """The variable of a module through which it was reached."""


Root = tuple[Owner, object]


class _Space(NamedTuple):
    """Names and their values, as they were."""

    owner: Owner
    names: Mapping[str, Any]
    before: dict[str, Any]
    values: list[Any]


class _Value(NamedTuple):
    """Something that is compared by what a function returns for it."""

    owner: Owner
    value: Any
    told: Callable[[Any], Any]
    before: Any

    def now(self) -> Any:
        try:
            return self.told(self.value)
        except ValueError:  # something has come into a container that is not plain
            return None


class State:
    """All that the given modules and roots hold, as it is now."""

    def __init__(self, modules: Iterable[ModuleType], files: Mapping[str, bytes], roots: Iterable[Root] = ()) -> None:
        """`files` are the job's own files by path."""
        self._files = files
        self._modules: set[str] = set()
        self._spaces: list[_Space] = []
        self._empty: list[Mapping[str, Any]] = []
        """Attributes of functions; hardly any function has some."""
        self._empty_owners: list[Owner] = []
        self._values: list[_Value] = []
        self._seen: dict[int, object] = {}
        self._cost = _CHECK_COST
        self._owed = self._units = 0
        modules = list(modules)
        self._modules.update(module.__name__ for module in modules)
        for module in modules:
            self.add(module)
        self._walk(roots)

    def add(self, module: ModuleType) -> None:
        """Adds a module of the job that has just been imported."""
        self._modules.add(module.__name__)
        prefix = "" if module.__name__ == "job" else f"{module.__name__}."
        place = Place(str(module.__file__), 1)
        self._space(Owner(prefix, place), vars(module))
        self._walk(
            (Owner(f"{prefix}{name}", place, variable=name), value)
            for name, value in list(vars(module).items())
            if not _is_special(name)
        )

    def after_unit(self, records: int) -> Owner | None:
        """Returns what a unit that read this many records has changed.

        Looks after each of the first units, and after those whose records are worth a check.
        """
        self._units += 1
        self._owed += records + _ALLOWANCE
        if self._owed < self._cost and self._units > _FIRST_UNITS and self._units & (self._units - 1):
            return None
        self._owed = 0
        return next((owner for owner, _ in self.changes()), None)

    def place_of(self, owner: Owner) -> Place | None:
        """Returns where something is in the job: where the variable that holds it is first bound."""
        if owner.place is None or owner.operation:
            return owner.place
        variable = owner.variable or owner.name.rpartition(".")[2]
        with suppress(SyntaxError, ValueError, RecursionError):
            for statement in ast.parse(self._files.get(owner.place.file, b"")).body:
                bound = ast.walk(statement) if isinstance(statement, ast.Assign | ast.AnnAssign) else [statement]
                if any(variable in (getattr(node, "id", None), getattr(node, "name", None)) for node in bound):
                    return owner.place._replace(line=statement.lineno)
        return owner.place

    def changes(self) -> Iterator[tuple[Owner, object]]:
        """What is different now, each with its value or what stands for that."""
        if any(self._empty):
            for owner, names in zip(self._empty_owners, self._empty, strict=True):
                yield from ((owner._replace(name=f"{owner.name}.{name}"), held) for name, held in names.items())
        for space in self._spaces:
            if not _same(space.names, space.values):
                yield from self._renamed(space)
        for one in self._values:
            if (now := one.now()) != one.before:
                yield one.owner, one.value if one.told in (_of_plain, _of_items) else now

    def _renamed(self, space: _Space) -> Iterator[tuple[Owner, object]]:
        for name in [*space.before, *(name for name in space.names if name not in space.before)]:
            old, new = space.before.get(name, _NOTHING), space.names.get(name, _NOTHING)
            if not (_is_special(name) or _equal(old, new) or isinstance(new, ModuleType)):
                yield space.owner._replace(name=f"{space.owner.name}{name}"), new

    # The search.

    def _walk(self, roots: Iterable[Root]) -> None:
        level = list(roots)
        while level:
            below: list[Root] = []
            for owner, value in level:
                if type(value) in LEAVES or id(value) in self._seen or len(self._seen) >= MAX_NODES:
                    continue
                self._seen[id(value)] = value  # kept, so that nothing else gets its id
                below.extend(self._look(owner, value))
            level = below

    def _look(self, owner: Owner, value: Any) -> Iterable[Root]:
        """Remembers the state of one object. Returns what is below it."""
        kind = type(value)
        if isinstance(value, _CONTAINERS):
            found = self._contained(owner, value)
            return found if kind in _CONTAINERS else [*found, *self._of_object(owner, value)]
        match value:
            case FunctionType():
                return self._function(owner, value)
            case partial():
                return [(owner, value.func), (owner, value.args), (owner, value.keywords)]
            case MethodType():
                return [(owner, value.__func__), (owner._replace(name=type(value.__self__).__name__), value.__self__)]
            case BuiltinFunctionType() | MethodWrapperType():
                return () if isinstance(value.__self__, ModuleType) else [(owner, value.__self__)]
            case staticmethod() | classmethod():
                return [(owner, value.__func__)]
            case EnumMeta() | ModuleType():
                return ()
            case type():
                return self._attributes(owner, vars(value)) if value.__module__ in self._modules else ()
            case Random():
                if value is not _SHARED:
                    self._value(owner, value, _of_random)
            case bytearray():
                self._value(owner, value, bytes)
        return self._of_object(owner, value)

    def _of_object(self, owner: Owner, value: Any) -> list[Root]:
        kind = type(value)
        found: list[Root] = []
        package, _, rest = kind.__module__.partition(".")
        if kind.__module__ in self._modules or kind.__module__ in _OPEN_CLASSES:
            if isinstance(kind, EnumMeta):
                return found
            if isinstance(attributes := _attributes_of(value), dict):
                found += self._attributes(owner, attributes, kind)
            slots = [name for cls in kind.__mro__ for name in _slots(cls)]
            if slots:
                self._value(owner, value, partial(_of_slots, slots))
                found += [(owner, getattr(value, name, None)) for name in slots]
        elif package in ("_io", "array"):
            self._value(owner, value, _of_buffer)
        elif hasattr(kind, "__next__"):
            self._value(owner, value, _of_iterator)
            found += [(owner, one) for one in _behind(value)]
        elif package == "numpy":
            if not rest.startswith("random"):
                self._value(owner, value, _of_array)
            elif kind.__name__ == "Generator":  # the legacy generator is seeded for every unit
                self._value(owner, value, _of_numpy_random)
        elif package == "functools" and hasattr(value, "__wrapped__"):
            found.append((owner, value.__wrapped__))
        return found

    def _contained(self, owner: Owner, value: Any) -> list[Root]:
        """Remembers a container, as a whole if it holds nothing but plain values."""
        inner = chain(value, value.values()) if isinstance(value, dict) else value
        if isinstance(value, tuple | frozenset) and set(map(type, inner)) <= LEAVES:
            return []
        try:
            self._value(owner, value, _of_plain)
        except ValueError:
            self._value(owner, value, _of_items)
            return [(owner, one) for one in inner if type(one) not in LEAVES]
        return []

    def _function(self, owner: Owner, function: FunctionType) -> list[Root]:
        if function.__code__.co_filename not in self._files:
            return []
        attributes = vars(function)
        found = self._attributes(owner, attributes) if attributes else []
        if not attributes:
            self._empty.append(attributes)
            self._empty_owners.append(owner)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            of_cell = owner._replace(name=name)
            self._value(of_cell, cell, _of_cell)
            found.append((of_cell, _content(cell)))
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        defaults = function.__defaults__ or ()
        given = {**dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))}
        for name, value in {**given, **(function.__kwdefaults__ or {})}.items():
            found.append((owner._replace(name=f"the default of {name} in {function.__name__}()"), value))
        return found

    def _attributes(self, owner: Owner, names: Mapping[str, Any], kind: type = object) -> list[Root]:
        inner = owner._replace(name=f"{owner.name}.")
        caches = {name for cls in kind.__mro__ for name, held in vars(cls).items() if isinstance(held, cached_property)}
        self._space(inner, _Without(names, caches) if caches else names)
        return [
            (inner._replace(name=f"{inner.name}{name}"), value)
            for name, value in list(names.items())
            if name not in caches and not (_is_special(name) and not isinstance(value, FunctionType))
        ]

    def _space(self, owner: Owner, names: Mapping[str, Any]) -> None:
        self._spaces.append(_Space(owner, names, dict(names), list(names.values())))
        self._cost += len(names)

    def _value(self, owner: Owner, value: Any, told: Callable[[Any], Any]) -> None:
        before = told(value)
        self._values.append(_Value(owner, value, told, before))
        self._cost += before[1] // _PLAIN_BYTES if told is _of_plain else _OBJECT_COST


class _Without(Mapping[str, Any]):
    """A mapping without some of its names."""

    def __init__(self, names: Mapping[str, Any], left_out: set[str]) -> None:
        self._names, self._left_out = names, left_out

    def __getitem__(self, name: str) -> Any:
        if name in self._left_out:
            raise KeyError(name)
        return self._names[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name not in self._left_out)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _same(names: Mapping[str, Any], values: list[Any]) -> bool:
    try:
        return [*names.values()] == values  # compares by identity first, so hardly ever runs code of the job
    except Exception:  # noqa: BLE001  it did, and may raise anything
        return False


def _equal(old: object, new: object) -> bool:
    return old is new or (type(old) is type(new) and type(old) in LEAVES and old == new)


def _of_plain(value: Any) -> tuple[int, int]:
    """A checksum and a size. Raises ValueError if there is something inside that is not plain."""
    if isinstance(value, dict):
        value = dict(value)
    elif type(value) not in (list, set, tuple, frozenset):
        value = list(value)
    data = marshal.dumps(value, 2)
    return crc32(data), len(data)


def _of_items(value: Any) -> Any:
    return list(map(_leaf, chain(value, value.values()) if isinstance(value, dict) else value))


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _of_cell(cell: CellType) -> Any:
    return _leaf(_content(cell))


def _of_slots(names: Sequence[str], value: Any) -> Any:
    return [_leaf(getattr(value, name, None)) for name in names]


def _slots(kind: type) -> Sequence[str]:
    slots = vars(kind).get("__slots__", ())
    return [slots] if isinstance(slots, str) else [name for name in slots if not _is_special(name)]


def _of_random(generator: Random) -> Any:
    try:
        return hash(generator.getstate())
    except NotImplementedError:  # SystemRandom has no state
        return 0


def _of_iterator(iterator: Any) -> Any:
    if isinstance(iterator, GeneratorType):
        frame = iterator.gi_frame
        if frame is None:
            return None
        return frame.f_lasti, [_leaf(one) for one in frame.f_locals.values()]
    if isinstance(iterator, count):
        return repr(iterator)
    return length_hint(iterator, -1), [_leaf(one) for one in gc.get_referents(iterator)]


def _behind(iterator: Any) -> list[Any]:
    if isinstance(iterator, GeneratorType):
        frame = iterator.gi_frame
        return [] if frame is None else list(frame.f_locals.values())
    return [one for one in gc.get_referents(iterator) if not isinstance(one, type)]


def _leaf(value: object) -> Any:
    """A value by what it is, or by its identity; the State keeps whatever could lose its identity."""
    return (type(value), value) if type(value) in LEAVES else id(value)


def _attributes_of(value: object) -> object:
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


def _of_numpy_random(generator: Any) -> str:
    return repr(generator.bit_generator.state)


def _of_array(array: Any) -> int:
    return crc32(array.tobytes()) if hasattr(array, "tobytes") else 0


def _of_buffer(value: Any) -> Any:
    if hasattr(value, "getvalue"):
        return value.closed or (value.tell(), value.getvalue())
    return crc32(value.tobytes()) if hasattr(value, "tobytes") else None
