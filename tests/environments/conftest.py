"""A small Python of its own, with a venv: enough of the standard library to compile modules, and a package or two."""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from p2p.environments import packing
from p2p.environments.packing import Packed, Plan
from tests.support.world import world as world

_NEEDED = """
import collections.abc, compileall, concurrent.futures.process, csv, encodings.ascii, encodings.idna, encodings.latin_1
import importlib.metadata, importlib.util, json, logging, multiprocessing.connection, multiprocessing.popen_fork, os
import multiprocessing.pool, multiprocessing.queues, multiprocessing.synchronize, random, site, sysconfig, zipfile
import email.parser, concurrent.futures.thread, multiprocessing.resource_tracker, multiprocessing.shared_memory, ssl
import sys
print(*sorted({m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)}), sep="\\n")
print(sysconfig.get_path("stdlib") + "/" + sysconfig._get_sysconfigdata_name() + ".py")
"""


class Made(msgspec.Struct, frozen=True):
    """A base, a venv of it, and what was packed of them."""

    base: Path
    venv: Path
    plan: Plan
    folder: Path
    packed: Packed

    @property
    def site(self) -> Path:
        return self.venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


@pytest.fixture(scope="session")
def outside() -> Iterator[Path]:
    """A folder that is not in /tmp: a member has one of its own there."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="shoal-env-") as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="session")
def made(outside: Path) -> Made:
    """Makes a Python and a venv, and packs them."""
    base, venv = outside / "base", outside / "venv"
    _make_base(base)
    python = base / "bin" / "python3"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python3").symlink_to(python)
    (venv / "bin" / "python").symlink_to("python3")
    (venv / "pyvenv.cfg").write_text(f"home = {base}/bin\ninclude-system-site-packages = false\n")
    site = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    info = site / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (venv / "lib64").symlink_to("lib")
    (site / "thing").mkdir()
    (site / "thing" / "__init__.py").write_text("from thing.token import VALUE\nNAMES = {'a', 'b', 'c'}\n")
    (site / "thing" / "token.py").write_text("VALUE = 41 + 1\n")
    (site / "thing" / "tests").mkdir()
    (site / "thing" / "tests" / "test_it.py").write_text("assert True\n")
    (site / "thing" / ".git").mkdir()
    (site / "thing" / ".git" / "config").write_text("password\n")
    (site / "thing" / ".env.local").write_text("PASSWORD=no\n")
    (site / "thing" / "some.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\nno\n")
    (site / "thing" / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nfine\n")
    (site / "thing" / "gone").symlink_to("nowhere")
    (site / "thing" / "loop").symlink_to(".")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n\nhttps://me:word@example.org\n")
    (info / "direct_url.json").write_text('{"url": "https://me:hidden@example.org/thing.git", "vcs_info": {}}')
    (info / "top_level.txt").write_text("thing\n")
    _make_editable(outside / "project", site)
    plan = packing.plan(venv)
    return Made(base, venv, plan, outside / "pack", packing.pack(plan, outside / "pack"))


def _make_base(base: Path) -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    inside = base / "lib" / stdlib.name
    real = Path(sys.executable).resolve()
    needed = subprocess.run(
        [real, "-I", "-S", "-c", _NEEDED], check=True, capture_output=True, text=True
    ).stdout.split()
    for path in [*map(Path, needed), stdlib / "site.py"]:
        if path.is_relative_to(stdlib) and path.exists():
            (inside / path.relative_to(stdlib)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, inside / path.relative_to(stdlib))
    (inside / "lib-dynload").mkdir(exist_ok=True)
    (inside / "test").mkdir()
    (inside / "test" / "big.py").write_text("1\n")
    (base / "bin").mkdir()
    shutil.copy(real, base / "bin" / "python3")
    libraries = Path(sysconfig.get_config_var("LIBDIR"))
    for library in libraries.glob("libpython3*.so.*") if libraries.is_relative_to(sys.base_prefix) else ():
        shutil.copy(library, base / "lib" / library.name)


def _make_editable(project: Path, site: Path) -> None:
    """A project with its package in `src`, installed as `pip install -e` does."""
    (project / "src" / "mine").mkdir(parents=True)
    (project / "src" / "mine" / "__init__.py").write_text("HERE = __file__\n")
    (project / "notes.txt").write_text("not to be installed\n")
    (project / ".git").mkdir()
    (site / "__editable__.mine-0.1.pth").write_text(f"{project}/src\n")
    info = site / "mine-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n\n")
    (info / "direct_url.json").write_text(f'{{"url": "file://{project}", "dir_info": {{"editable": true}}}}')
