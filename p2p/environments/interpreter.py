"""Asks an environment's own interpreter what belongs to it. It is this user's, and runs as this user."""

import os
import subprocess
from pathlib import Path

import msgspec

from p2p import causes
from p2p.errors import ConfigError, StorageError
from p2p.formats import shortened

OLDEST = (3, 9)
"""The oldest Python that an engine's processes are started with."""
_TIMEOUT_S = 120
_QUESTION = """
import json, os, sys, sysconfig
try:
    from importlib import metadata
except ImportError:
    metadata = None
def text(one, name):
    try:
        return one.read_text(name) or ""
    except Exception:
        return ""
packages = []
for one in metadata.distributions() if metadata else ():
    if one.metadata["Name"]:
        packages.append({
            "name": one.metadata["Name"], "version": one.version or "", "where": os.path.abspath(str(one._path)),
            "direct_url": text(one, "direct_url.json"), "top_level": text(one, "top_level.txt").split(),
            "wheel": text(one, "WHEEL"),
        })
mapped = {}
for name, module in list(sys.modules.items()):
    if name.startswith("__editable__") and isinstance(getattr(module, "MAPPING", None), dict):
        mapped.update({str(key): str(value) for key, value in module.MAPPING.items()})
hooks = [type(one).__module__ for one in sys.meta_path if "editable" in type(one).__module__]
print(json.dumps({
    "version": list(sys.version_info[:3]), "prefix": sys.prefix, "base": sys.base_prefix, "executable": sys.executable,
    "base_executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "stdlib": sysconfig.get_path("stdlib"), "path": [p for p in sys.path if p], "packages": packages, "mapped": mapped,
    "hooks": hooks, "so": sysconfig.get_config_var("EXT_SUFFIX") or "",
}))
"""


class Distribution(msgspec.Struct, frozen=True):
    """An installed package. `where` is the folder of its metadata."""

    name: str
    version: str
    where: str
    direct_url: str
    top_level: tuple[str, ...]
    wheel: str


class Interpreter(msgspec.Struct, frozen=True):
    """What an interpreter says of itself. All paths are absolute."""

    version: tuple[int, int, int]
    prefix: str
    base: str
    """The prefix of the Python that a venv was made of; the prefix itself where it is no venv."""
    executable: str
    base_executable: str
    stdlib: str
    path: tuple[str, ...]
    """Where it looks for modules, the user's own packages left out."""
    packages: tuple[Distribution, ...]
    mapped: dict[str, str]
    """Modules of editable installs, and where they are."""
    hooks: tuple[str, ...]
    """Import hooks of editable installs, which may know modules of their own."""
    so: str


def ask(environment: Path) -> Interpreter:
    """Asks the interpreter of a venv, of a folder with a `bin/python`, or the one at this path. Blocks.

    Raises ConfigError if there is none, or if it is too old; StorageError if it cannot be run.
    """
    python = _python(environment)
    try:
        done = subprocess.run(
            [python, "-I", "-c", _QUESTION],
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            cwd="/",
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
        )
    except OSError as error:
        raise StorageError(f"Cannot run {python}: {causes.explained(error)}") from error
    except subprocess.TimeoutExpired:
        raise StorageError(f"{python} does not answer.") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise StorageError(f"{python} does not work: {shortened(said[-1])}")
    try:
        found = msgspec.json.decode(done.stdout.splitlines()[-1], type=Interpreter)
    except (IndexError, msgspec.DecodeError) as error:
        raise StorageError(f"{python} does not answer as Python does: {error}") from None
    if found.version[:2] < OLDEST:
        version = ".".join(map(str, found.version))
        raise ConfigError(f"{python} is Python {version}. Clusters need {'.'.join(map(str, OLDEST))} or newer.")
    return found


def _python(environment: Path) -> Path:
    if environment.is_file():
        return environment
    for name in ("python3", "python"):
        if (environment / "bin" / name).exists():
            return environment / "bin" / name
    raise ConfigError(
        f"There is no Python environment in {shortened(str(environment))}: it has no bin/python3. "
        "Give the folder of a venv or of a conda environment, or an interpreter."
    )
