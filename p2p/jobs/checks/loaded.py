"""The modules that are loaded in a guest: the job's own, those of packages that go along with it, and strange entries.

Hundreds of modules are loaded, and hardly any comes or goes between two units. So they are sorted again only once
`sys.modules` has changed.
"""

import sys
from collections.abc import Collection
from operator import is_
from types import ModuleType

from p2p.jobs.files import API

_PYTHONS = frozenset({"typing.io", "typing.re"})
"""Classes that Python itself puts among the modules."""


class Loaded:
    """What is loaded, as of the last `look`. `files` are the job's own, and `importer` the type that loads modules."""

    def __init__(self, files: Collection[str], importer: type) -> None:
        self._files, self._importer = files, importer
        self._seen: dict[str, object] = {}
        self.own: list[ModuleType] = []
        """The job's own modules."""
        self.packages: list[ModuleType] = []
        """The modules of packages that go along with the job."""
        self.strange: list[tuple[str, object]] = []
        """Entries of `sys.modules` that are no modules."""

    def look(self) -> "Loaded":
        """Brings everything up to date. Returns itself."""
        if list(self._seen) == list(sys.modules) and all(map(is_, self._seen.values(), sys.modules.values())):
            return self
        self._seen = dict(sys.modules)  # kept, so that nothing else gets the place of one of these
        modules = [module for module in self._seen.values() if isinstance(module, ModuleType)]
        self.own = [module for module in modules if self.is_own(module)]
        self.packages = [module for module in modules if self.is_packages(module)]
        self.strange = [
            (name, held)
            for name, held in self._seen.items()
            if not isinstance(held, ModuleType) and name not in _PYTHONS
        ]
        return self

    def is_own(self, module: ModuleType) -> bool:
        """Whether this is a module of the job's own files."""
        return vars(module).get("__file__") in self._files

    def is_packages(self, module: ModuleType) -> bool:
        """Whether this is a module of a package that goes along with the job."""
        is_ours = isinstance(getattr(vars(module).get("__spec__"), "loader", None), self._importer)
        path = str(vars(module).get("__file__"))
        return is_ours and path not in self._files and not path.startswith(API)
