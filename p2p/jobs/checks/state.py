"""What a job's code keeps from one call to the next, found by comparing it before and after a unit.

Units must not depend on those before them, because who runs which units is chance. A unit in a process of its own, or
with its modules loaded again, would not help: a set that a filter fills would then hold the records of one partition,
and a count would depend on how the input is cut. So a job that keeps state is refused, with the name of the variable.

Looked at are
* the variables of the job's own modules, what its operations captured, and everything below these: containers,
  attributes of classes, functions and objects of the job's classes, defaults, iterators, generators, variables of
  threads and contexts, bytes that can be changed, digests, locks and queues;
* objects of Python's other classes, such as trees of XML: their attributes, or what those in C would be pickled as;
* the variables of packages that go along with the job, less strictly (`packages`);
* what the job's functions name or set in modules, classes and objects of other packages (`elsewhere`), and
  `os.environ`;
* what caches of `functools` hold. That they grow is no state, unless the job asks them how much (`cache_info`).

Not looked at is what objects of a runtime's packages hold inside, nor those in C that cannot be pickled (a database),
settings (the recursion limit, a locale; the precision of `decimal` is looked at from the second unit on, as units may
all set the same), what Python registers (subclasses, loggers, names of threads), and code in strings (`exec`).

A check compares as many values as there are in changeable containers, at some 20 ns each. For a job without such
variables it takes some 2 µs, longer in a guest, and fewer than half of the units have one. Where there are many, units
pay for the check with the records that they read.
"""

import ast
import os
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from enum import EnumMeta
from functools import cached_property, partial
from itertools import chain
from random import Random
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any

from p2p.jobs.checks.elsewhere import Attribute, Named
from p2p.jobs.checks.loaded import Loaded
from p2p.jobs.checks.memory import SHUT, Owner, Root, Space, Value
from p2p.jobs.checks.packages import CHANGEABLE, Packages
from p2p.jobs.checks.values import (
    FRAMED,
    TELLING,
    Without,
    attributes_of,
    behind,
    content,
    equal,
    has_bytes,
    held_by,
    is_pickled_alike,
    is_pythons,
    is_special,
    of_array,
    of_buffer,
    of_bytes,
    of_cache,
    of_cell,
    of_exception,
    of_items,
    of_iterator,
    of_name,
    of_numpy_random,
    of_opaque,
    of_pickled,
    of_plain,
    of_random,
    of_settings,
    of_slots,
    of_variable,
    pickled,
    pickled_by,
    results_of,
    same,
    slots_of,
    value_at,
)
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
_CONTAINERS = (list, dict, set, deque, tuple, frozenset)
_NOTHING = object()
_SHARED = getattr(random.random, "__self__", None)
"""The generator of the functions of `random`, which is seeded for every unit."""


class State:
    """All that the loaded modules and the given roots hold, as it is now."""

    def __init__(self, loaded: Loaded, files: Mapping[str, bytes], roots: Iterable[Root] = ()) -> None:
        """`files` are the job's own files by path."""
        self._files = files
        self._modules: set[str] = set()
        self._spaces: list[Space] = []
        self._empty: list[Mapping[str, Any]] = []
        """Attributes of functions; hardly any function has some."""
        self._empty_owners: list[Owner] = []
        self._values: list[Value] = []
        self._seen: dict[int, object] = {}
        self._filled: list[tuple[Owner, Callable[[], Iterable[object]]]] = []
        """What caches hold. A cache may grow, but what is in it may not change."""
        self._caches: list[tuple[Owner, object]] = []
        self._counts_hits = False
        self._waiting: dict[str, list[tuple[Owner, Named]]] = {}
        """Functions that may still import modules of these names."""
        self._cost = _CHECK_COST
        self._owed = self._units = 0
        self._packages = Packages()
        for module in loaded.packages:
            self.add_package(module)
        self._modules.update(module.__name__ for module in loaded.own)
        for module in loaded.own:
            self.add(module)
        self._walk(roots)
        self._filled.append((Owner("decimal.getcontext()"), _context))
        self._value(Owner("os.environ"), getattr(os.environ, "_data", {}), dict)  # as bytes, which is quicker
        self._walk((Owner(f"sys.modules[{name!r}]"), held) for name, held in loaded.strange)
        if self._counts_hits:
            for owner, cached in self._caches:
                self._value(owner._replace(name=f"{owner.name}.cache_info()"), cached, of_cache)

    def add(self, module: ModuleType) -> None:
        """Adds a module of the job that has just been imported."""
        self._modules.add(module.__name__)
        prefix = "" if module.__name__ == "job" else f"{module.__name__}."
        place = Place(str(module.__file__), 1)
        self._space(Owner(prefix, place), vars(module))
        self._walk(
            (Owner(f"{prefix}{name}", place, variable=name), value)
            for name, value in list(vars(module).items())
            if not is_pythons(name)
        )

    def add_package(self, module: ModuleType) -> None:
        """Adds a module of a package that has just been imported."""
        before = self._packages.cost
        self._packages.add(module)
        self._cost += self._packages.cost - before

    def after_unit(self, records: int) -> Owner | None:
        """Returns what a unit that read this many records has changed.

        Looks after each of the first units, and after those whose records are worth a check.
        """
        self._units += 1
        self._owed += records + _ALLOWANCE
        if self._owed < self._cost and self._units > _FIRST_UNITS and self._units & (self._units - 1):
            return None
        self._owed = 0
        changed = next((owner for owner, _ in self.changes()), None)
        self._look_again()
        return changed

    def _look_again(self) -> None:
        """Remembers what has come into caches, and what is in modules that have been imported since."""
        for name in self._waiting.keys() & sys.modules.keys():
            for owner, named in self._waiting.pop(name):
                self._elsewhere(owner, named)
        self._walk((owner, one) for owner, held in self._filled for one in held())

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
            if not same(space.names, space.values):
                yield from self._renamed(space)
        for one in self._values:
            if (now := one.now()) != one.before:
                yield one.owner, one.value if one.told in (of_plain, of_items) else now
        for name, value in self._packages.changes():
            yield Owner(name), value

    def _renamed(self, space: Space) -> Iterator[tuple[Owner, object]]:
        is_left_out = is_special if space.owner.variable else is_pythons
        for name in [*space.before, *(name for name in space.names if name not in space.before)]:
            old, new = space.before.get(name, _NOTHING), space.names.get(name, _NOTHING)
            if not (is_left_out(name) or equal(old, new) or isinstance(new, ModuleType)):
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
            case ModuleType():
                return ()
            case EnumMeta():
                members: Mapping[str, Any] = value.__members__
                return [(owner._replace(name=f"{owner.name}.{name}"), one) for name, one in members.items()]
            case type():
                return self._attributes(owner, vars(value)) if value.__module__ in self._modules else ()
            case Random():
                if value is not _SHARED:
                    self._value(owner, value, of_random)
            case bytearray():
                self._value(owner, value, bytes)
            case ContextVar():
                self._value(owner, value, of_variable)
            case BaseException():
                self._value(owner, value, of_exception)
            case MappingProxyType():
                return [(owner, one) for one in behind(value)]
        return self._of_object(owner, value)

    def _of_object(self, owner: Owner, value: Any) -> list[Root]:
        kind = type(value)
        found: list[Root] = []
        package, _, rest = kind.__module__.partition(".")
        is_own = kind.__module__ in self._modules
        if kind.__module__ in self._packages.modules:
            return self._of_packages(owner, value)
        is_open = not is_own and _is_open(package)
        attributes = attributes_of(value) if is_own or is_open else None
        slots = [name for cls in kind.__mro__ for name in slots_of(cls)] if is_own or is_open else []
        if is_own or slots or isinstance(attributes, dict):
            if isinstance(attributes, dict):
                found += self._attributes(owner, attributes, kind)
            if slots:
                self._value(owner, value, partial(of_slots, slots))
                found += [(owner, getattr(value, name, None)) for name in slots]
            if is_own and (by := pickled_by(kind)) and all(map(_is_open, by)) and is_pickled_alike(value):
                self._value(owner, value, of_pickled)
        elif package in ("_io", "array"):
            self._value(owner, value, of_buffer)
        elif hasattr(kind, "__next__") or isinstance(value, FRAMED):
            self._value(owner, value, of_iterator)
            found += [(owner, one) for one in behind(value)]
        elif package == "numpy":
            if not rest.startswith("random"):
                self._value(owner, value, of_array)
            elif kind.__name__ == "Generator":  # the legacy generator is seeded for every unit
                self._value(owner, value, of_numpy_random)
        elif package == "functools" and hasattr(value, "__wrapped__"):
            found.append((owner, value.__wrapped__))
            if hasattr(value, "cache_info") and self._is_own(value.__wrapped__):
                self._caches.append((owner, value))
                self._filled.append((owner._replace(name=f"a result of {owner.name}()"), partial(results_of, value)))
        elif kind.__qualname__ == "_local":  # of threading
            found += self._attributes(owner, value.__dict__)
        elif any(hasattr(kind, name) for name in TELLING):
            self._value(owner, value, of_opaque)
        elif has_bytes(value):
            self._value(owner, value, of_bytes)
        elif package == "decimal":
            self._value(owner, value, of_settings)
        elif is_open and not isinstance(value, _CONTAINERS) and is_pickled_alike(value):
            self._value(owner, value, of_pickled)
            found += [(owner, one) for one in pickled(value) if type(one) not in LEAVES]
        return found

    def _of_packages(self, owner: Owner, value: object) -> list[Root]:
        """Remembers the containers that an object of a package holds, except those that may be its caches."""
        found: list[Root] = []
        for name, held in held_by(value):
            inner = owner._replace(name=f"{owner.name}.{name}")
            if type(held) in CHANGEABLE:
                with suppress(ValueError):
                    self._value(inner, held, of_plain)
            elif type(held).__module__ in self._packages.modules and not isinstance(held, dict):
                found.append((inner, held))
        return found

    def _contained(self, owner: Owner, value: Any) -> list[Root]:
        """Remembers a container, as a whole if it holds nothing but plain values."""
        inner = chain(value, value.values()) if isinstance(value, dict) else value
        if isinstance(value, tuple | frozenset) and set(map(type, inner)) <= LEAVES:
            return []
        try:
            self._value(owner, value, of_plain)
        except ValueError:
            self._value(owner, value, of_items)
            return [(owner, one) for one in inner if type(one) not in LEAVES]
        return []

    def _function(self, owner: Owner, function: FunctionType) -> list[Root]:
        if not self._is_own(function):
            return []
        named = Named(function)
        self._counts_hits |= "cache_info" in named.names and owner.name != "job"
        self._elsewhere(owner, named)
        for name in named.unloaded():
            self._waiting.setdefault(name, []).append((owner, named))
        attributes = vars(function)
        found = self._attributes(owner, attributes) if attributes else []
        if not attributes:
            self._empty.append(attributes)
            self._empty_owners.append(owner)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            inner = owner._replace(name=name)
            self._value(inner, cell, of_cell)
            found.append((inner, content(cell)))
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        defaults = function.__defaults__ or ()
        given = {**dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))}
        for name, value in {**given, **(function.__kwdefaults__ or {})}.items():
            found.append((owner._replace(name=f"the default of {name} in {function.__name__}()"), value))
        return found

    def _is_own(self, function: Any) -> bool:
        return isinstance(function, FunctionType) and function.__code__.co_filename in self._files

    def _elsewhere(self, owner: Owner, named: Named) -> None:
        """Remembers what a function can change outside of the job."""
        roots: list[Root] = []
        for one in named.reached(self._modules):
            if isinstance(one, Attribute):
                self._value(Owner(one.name, owner.place), one.names, partial(of_name, one.key))
            else:
                roots.append((Owner(one[0], owner.place), one[1]))
        self._walk(roots)

    def _attributes(self, owner: Owner, names: Mapping[str, Any], kind: type = object) -> list[Root]:
        inner = owner._replace(name=f"{owner.name}.")
        caches = {name for cls in kind.__mro__ for name, held in vars(cls).items() if isinstance(held, cached_property)}
        self._space(inner, Without(names, caches) if caches else names)
        if caches:
            for name in caches:
                self._filled.append((inner._replace(name=f"{inner.name}{name}"), partial(value_at, names, name)))
        return [
            (inner._replace(name=f"{inner.name}{name}"), value)
            for name, value in list(names.items())
            if name not in caches and not (is_special(name) and not isinstance(value, FunctionType))
        ]

    def _space(self, owner: Owner, names: Mapping[str, Any]) -> None:
        self._spaces.append(Space(owner, names, dict(names), list(names.values())))
        self._cost += len(names)

    def _value(self, owner: Owner, value: Any, told: Callable[[Any], Any]) -> None:
        before = told(value)
        self._values.append(Value(owner, value, told, before))
        self._cost += before[1] // _PLAIN_BYTES if told is of_plain else _OBJECT_COST


def _is_open(package: str) -> bool:
    return package in sys.stdlib_module_names and package not in SHUT


def _context() -> Iterable[object]:
    """The settings of `decimal`, which a unit may set once for all, but not for each differently."""
    decimal = sys.modules.get("decimal")
    return () if decimal is None else (decimal.getcontext(),)
