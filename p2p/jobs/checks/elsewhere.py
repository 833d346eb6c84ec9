"""What a function of a job can reach by name in modules, classes and objects that are not the job's own.

`math.seen = set()` keeps state as well as a variable of the job does. But other packages may change what is theirs:
they fill caches, and load parts of themselves late. So only two things are looked at: what the function finds behind
the names that it uses, such as `sys.path`, and attributes of these names that it sets, such as `math.count += 1`.
"""

import sys
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from opcode import opmap
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NamedTuple

from p2p.jobs.checks.values import attributes_of, content

_CONTAINERS = (list, dict, set, deque, bytearray)
_STORE_ATTR = opmap["STORE_ATTR"]
_BY_TEXT = frozenset({"setattr", "__setattr__", "__dict__", "vars"})
"""Names with which code may set attributes that it names in strings."""
_MODULES_BY_TEXT = frozenset({"modules", "import_module", "__import__"})
"""Names with which code may get modules that it names in strings."""
_MAX_STEPS = 3
"""How many names of a chain such as `json.decoder.scanner` are followed."""
_MAX_NAMES = 256
"""A longer list of names is not told apart: every one may be set."""


class Attribute(NamedTuple):
    """A name that code may set on something that is not the job's own."""

    name: str
    names: Any
    """The names and values of its owner."""
    key: str


class Named:
    """The names in a function's code, and in the functions inside it."""

    def __init__(self, function: FunctionType) -> None:
        self.names, self.set = _named(function.__code__)
        """The names that it uses, and the attributes that it sets."""
        outer = function.__globals__
        self._known = {name: outer[name] for name in self.names & outer.keys()}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._known[name] = content(cell)

    def unloaded(self) -> frozenset[str]:
        """The names that may be those of modules which the function is still to import."""
        return self.names - self._known.keys() - sys.modules.keys()

    def reached(self, own: set[str]) -> Iterator[Attribute | tuple[str, object]]:
        """Yields values behind names of other modules, and attributes that are set. `own` are the job's modules."""
        level = [*({name: sys.modules[name] for name in self.names & sys.modules.keys()} | self._known).items()]
        for _ in range(_MAX_STEPS):
            below = []
            for path, value in level:
                if _module_of(value) in own:
                    continue
                if self.set and (names := _names_of(value)) is not None:
                    yield from (Attribute(f"{path}.{key}", names, key) for key in self.set)
                if isinstance(value, ModuleType):
                    found = [(f"{path}.{name}", vars(value)[name]) for name in self.names & vars(value).keys()]
                    yield from ((name, one) for name, one in found if _is_kept_in(one, own))
                    below += found
            level = below


@lru_cache(maxsize=4096)
def _named(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The names in this code and in that of functions inside it, and which of them are set as attributes."""
    names, are_set = {*code.co_names, *code.co_freevars}, _set_by(code)
    texts = [one for one in code.co_consts if type(one) is str]
    if not _MODULES_BY_TEXT.isdisjoint(names):
        names.update(texts)
    if not _BY_TEXT.isdisjoint(names):
        are_set.update(filter(str.isidentifier, texts))
    for inside in code.co_consts:
        if isinstance(inside, CodeType):
            more, more_set = _named(inside)
            names |= more
            are_set |= more_set
    return frozenset(names), frozenset(are_set)


def _module_of(value: object) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    return value.__module__ if isinstance(value, type | FunctionType) else type(value).__module__


def _is_kept_in(value: object, own: set[str]) -> bool:
    """Whether a value of another module may be what the job keeps there."""
    return (isinstance(value, _CONTAINERS) and value is not sys.modules) or type(value).__module__ in own


def _names_of(value: object) -> Any:
    names = vars(value) if isinstance(value, type) else attributes_of(value)
    return names if isinstance(names, dict | MappingProxyType) else None


def _set_by(code: CodeType) -> set[str]:
    names, operations = code.co_names, code.co_code[::2]
    found = set()
    at = operations.find(_STORE_ATTR)
    while at >= 0:
        found |= {names[code.co_code[2 * at + 1]]} if len(names) <= _MAX_NAMES else set(names)
        at = operations.find(_STORE_ATTR, at + 1)
    return found
