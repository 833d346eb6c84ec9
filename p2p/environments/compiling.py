"""Compiles the modules of a pack with its own interpreter, so that no member has to at each start.

The files are found to be current by nothing: a pack never changes, and shares keep no times of files.
"""

import os
import subprocess
from pathlib import Path

from p2p import causes
from p2p.errors import StorageError

_TESTS = r"/tests?/"
"""What is imported by nobody else is not compiled."""
_TIMEOUT_S = 1800


def compile_modules(python: str, folder: Path, target: str) -> None:
    """Compiles all modules below a folder that is seen at `target` inside. Blocks. Raises StorageError."""
    command = [python, "-s", "-S", "-m", "compileall", "-qq", "-j0", "--invalidation-mode", "unchecked-hash"]
    try:
        # A module that is not of this Python's syntax, such as a template, makes it fail, and all others are compiled.
        subprocess.run(
            [*command, "-x", _TESTS, "-s", str(folder), "-p", target, str(folder)],
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            umask=0o077,
        )
    except OSError as error:
        raise StorageError(f"Cannot run {python}: {causes.explained(error)}") from error
    except subprocess.TimeoutExpired:
        raise StorageError(f"Compiling the modules of {target} does not end.") from None
