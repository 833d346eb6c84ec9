"""What is remembered of a job's code, to be compared with what is there later."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from p2p.jobs.faults import Place

SHUT = frozenset(
    {"_frozen_importlib", "_frozen_importlib_external", "_io", "_thread", "array", "asyncio", "builtins", "concurrent"}
    | {"enum", "functools", "gettext", "importlib", "inspect", "io", "linecache", "logging", "multiprocessing"}
    | {"pathlib", "random", "re", "tarfile", "traceback", "typing", "unittest", "warnings", "zipfile", "zipimport"}
    | {"zoneinfo"}
)
"""Modules of Python whose objects change inside when they are only read, or are looked at in another way."""


class Owner(NamedTuple):
    """What a root of the search belongs to: its name in texts, and where it is in the job."""

    name: str
    place: Place | None = None
    operation: str | None = None
    variable: str = ""
    """The variable of a module through which it was reached."""


Root = tuple[Owner, object]


class Space(NamedTuple):
    """Names and their values, as they were."""

    owner: Owner
    names: Mapping[str, Any]
    before: dict[str, Any]
    values: list[Any]


class Value(NamedTuple):
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
