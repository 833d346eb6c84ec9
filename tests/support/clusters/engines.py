"""Environments that have an engine, made of what is installed here, as `pip install` would make them elsewhere."""

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import Requirement

_TESTS = {"tests", "test"}


@contextmanager
def environment(*packages: str) -> Iterator[Path]:
    """A venv with these packages and what they need, while the body runs. It is not in /tmp: members have their own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="shoal-engine-") as folder:
        venv = Path(folder).resolve() / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        site = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        for one in _with_needs(packages):
            _copy(importlib.metadata.distribution(one), site, venv)
        yield venv


def _with_needs(packages: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    waiting = list(packages)
    while waiting:
        name = waiting.pop().lower()
        if name in found:
            continue
        found[name] = None
        for text in importlib.metadata.requires(name) or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting.append(need.name)
    return list(found)


def _copy(installed: importlib.metadata.Distribution, site: Path, venv: Path) -> None:
    for file in installed.files or ():
        source = Path(str(installed.locate_file(file)))
        if file.parts[0] == ".." and file.parts[-2] == "bin":
            target = venv / "bin" / file.name
        elif file.parts[0] == ".." or _TESTS & set(file.parts) or "__pycache__" in file.parts:
            continue
        else:
            target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        if target.parent.name == "bin":
            _point_to(target, venv)


def _point_to(script: Path, venv: Path) -> None:
    """Gives a script the interpreter of the venv, as an installer does."""
    first, _, rest = script.read_bytes().partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        script.write_bytes(f"#!{venv}/bin/python\n".encode() + rest)
