"""The libraries that programs and modules are linked with, as the dynamic loader of this machine finds them."""

import os
import re
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from p2p import causes
from p2p.errors import StorageError

_ELF = b"\x7fELF"
_BATCH = 200
_TIMEOUT_S = 300
_FOUND = re.compile(r"^\t(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_MISSING = re.compile(r"^\t(\S+) => not found$", re.MULTILINE)


class Closure(msgspec.Struct, frozen=True):
    """What was found: paths, each with the name by which it is asked for; the loader has its path for a name.

    `missing` are names that were not found; what loads them may bring them by itself.
    """

    libraries: dict[str, str]
    missing: tuple[str, ...]


def is_compiled(path: str) -> bool:
    """Whether a file is an ELF program or library. Blocks. False if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == _ELF
    except OSError:
        return False


def looks_compiled(name: str, mode: int) -> bool:
    """Whether it is worth looking into a file: it has a library's name, or may be executed."""
    return ".so" in name or bool(mode & stat.S_IXUSR)


def closure(files: Sequence[str], beside: Iterable[Path]) -> Closure:
    """Asks the loader what these ELF files are linked with, where `beside` are folders to search first. Blocks.

    They are this user's own: the loader of the system may run parts of them. Raises StorageError.
    """
    environment = {"PATH": os.defpath, "LC_ALL": "C", "LD_LIBRARY_PATH": ":".join(map(str, beside))}
    libraries: dict[str, str] = {}
    missing: set[str] = set()
    for at in range(0, len(files), _BATCH):
        try:
            said = subprocess.run(
                ["ldd", *files[at : at + _BATCH]],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=_TIMEOUT_S,
            ).stdout
        except FileNotFoundError:
            raise StorageError(
                "Packing an environment needs the program ldd, which comes with the C library."
            ) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            what = causes.what(error) if isinstance(error, OSError) else "it does not end"
            raise StorageError(f"Cannot run ldd, which says what libraries are needed: {what}.") from error
        for name, path in _FOUND.findall(said):
            libraries[path] = name or path
        missing.update(_MISSING.findall(said))
    return Closure(dict(sorted(libraries.items())), tuple(sorted(missing - set(libraries.values()))))
