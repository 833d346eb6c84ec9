"""Makes a venv of a file of requirements, once for as long as the file does not change, with uv if it is installed."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from p2p import causes, private
from p2p.errors import ConfigError, StorageError

_DONE = "pyvenv.done"


def environment_of(file: Path, folder: Path) -> Path:
    """The venv in `folder` that has what the file requires; it is made if there is none. Blocks, and prints.

    What is installed is asked of the package index that pip or uv use here. Raises ConfigError, StorageError.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {causes.explained(error, forbidden=causes.MAY_READ)}") from error
    name = hashlib.sha256(repr((content, sys.version, sys.base_prefix)).encode()).hexdigest()[:16]
    venv = folder / name
    if (venv / _DONE).exists():
        return venv
    try:
        shutil.rmtree(venv, ignore_errors=True)
        private.make_folder(folder)
        for command in _commands(venv, file.absolute()):
            if subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL).returncode:
                raise ConfigError(f"{file} cannot be installed: see above.")
        (venv / _DONE).touch()
    except OSError as error:
        raise StorageError(f"Cannot make {venv}: {causes.explained(error)}") from error
    return venv


def _commands(venv: Path, file: Path) -> list[list[str]]:
    python = str(venv / "bin" / "python")
    if (uv := shutil.which("uv")) is not None:
        install = [uv, "pip", "install", "--python", python, "-r", str(file)]
        return [[uv, "venv", "--python", sys.executable, str(venv)], install]
    return [
        [sys.executable, "-m", "venv", str(venv)],
        [python, "-m", "pip", "install", "--disable-pip-version-check", "-r", str(file)],
    ]
