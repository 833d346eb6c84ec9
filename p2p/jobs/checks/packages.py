"""What the modules of packages that go along with a job keep in their variables.

A package was not written for units, and most keep things without harm: tables of what they computed before, parts that
they load late, notes that these are there. So what comes into a dict or leaves it is no state, as with
`functools.cache`, and neither is what takes the place of None or of another kind of value. State is a number or text
that becomes another, a dict's key whose value becomes another, and every change of a list, set, deque or bytearray, as
long as it holds nothing but plain values. Not looked at are attributes of a package's classes, and of its objects:
engines keep what they read last. Only for an object that a variable of the job holds, such as a sorted set, lists, sets
and the like inside are state if they change.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from types import ModuleType
from typing import Any, NamedTuple

from p2p.jobs.checks.values import is_special, of_plain
from p2p.jobs.codec import LEAVES

MAX_ITEMS = 4096
"""A variable that holds more when it is first seen is a table of the package, and not looked at."""
MAX_VARIABLES = 20_000
_TABLE_COST = 8
"""How many values of a list are compared in the time of one entry of a dict."""
CHANGEABLE = (list, set, deque, bytearray)
_PLAIN = (*CHANGEABLE, dict, tuple, frozenset)
_COUNTED = LEAVES - {bool, type(None)}
_NOT_PLAIN = object()


class _Variable(NamedTuple):
    """A variable of a module, as it was."""

    names: Mapping[str, Any]
    name: str
    module: str
    kind: type
    before: Any


class Packages:
    """The variables of packages' modules, as they are now."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.cost = 0
        """Roughly how many values each look at them compares."""
        self._variables: list[_Variable] = []
        self._tables: list[_Variable] = []

    def add(self, module: ModuleType) -> None:
        """Adds a module that has been imported."""
        self.modules.add(module.__name__)
        names = vars(module)
        for name, value in list(names.items()):
            kind = type(value)
            if is_special(name) or len(self._variables) + len(self._tables) >= MAX_VARIABLES:
                continue
            if kind is dict:
                if len(value) <= MAX_ITEMS:
                    self._tables.append(_Variable(names, name, module.__name__, kind, _table(value)))
                    self.cost += 1 + _TABLE_COST * len(value)
            elif kind in _COUNTED or (kind in CHANGEABLE and len(value) <= MAX_ITEMS):
                before = _told(value)
                if before is not _NOT_PLAIN:
                    self._variables.append(_Variable(names, name, module.__name__, kind, before))
                    self.cost += 1 if kind in _COUNTED else 1 + len(value)

    def changes(self) -> Iterator[tuple[str, object]]:
        """What is different now: names and values. What has come into dicts is remembered from now on."""
        for one in self._variables:
            value = one.names.get(one.name)
            if type(value) is one.kind and _told(value) != one.before:
                yield f"{one.module}.{one.name}", value
        for one in self._tables:
            value = one.names.get(one.name)
            if type(value) is not dict:
                continue
            now = _table(value)
            if any(now[key] != before for key, before in one.before.items() if key in now):
                yield f"{one.module}.{one.name}", value
            else:
                one.before.update(now)


def _told(value: Any) -> Any:
    kind = type(value)
    if kind in LEAVES:
        return repr(value) if kind is float else value  # NaN differs from itself
    if kind not in _PLAIN:
        return _NOT_PLAIN
    try:
        return of_plain(value)
    except ValueError:
        return _NOT_PLAIN


def _table(value: dict[Any, Any]) -> dict[Any, Any]:
    """The first keys of a dict, and what each has; keys and values that are not plain are left out."""
    items = list(islice(value.items(), MAX_ITEMS))
    told = {key: (type(held), _told(held)) for key, held in items if _is_plain(key)}
    return {key: held for key, held in told.items() if held[1] is not _NOT_PLAIN}


def _is_plain(key: object) -> bool:
    return type(key) in LEAVES or (type(key) is tuple and set(map(type, key)) <= LEAVES)
