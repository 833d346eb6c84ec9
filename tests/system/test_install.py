"""What `pip install .` installs works by itself: nothing is left behind in the source folder."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.harness import Peer, make_file, tree

SOURCE = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "tests")


def call(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installed_copy_works_after_its_source_is_gone(tmp_path: Path) -> None:
    copy, venv = tmp_path / "copy", tmp_path / "venv"
    shutil.copytree(SOURCE, copy, ignore=NOT_SOURCE)
    call(sys.executable, "-m", "venv", "--without-pip", venv, folder=tmp_path)
    python = venv / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    call(*pip, "install", "--quiet", "--no-deps", "--no-compile", copy, folder=tmp_path)
    shutil.rmtree(copy)

    # What it depends on is lent by the environment of the tests. A folder named in a .pth has its own .pth files
    # ignored, so an editable install there is not seen.
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(call(python, "-c", where, folder=tmp_path).strip())
    (site / "lent.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    found = call(python, "-c", "import p2p; print(p2p.__file__)", folder=tmp_path)
    assert found.strip() == str(site / "p2p" / "__init__.py")
    assert not (site / "cli.py").exists()

    origin, other = (Peer(tmp_path / name, command=(str(venv / "bin" / "shoal"),)) for name in ("origin", "other"))
    assert origin.run("--version").out.startswith("shoal ")
    folder = tmp_path / "folder"
    make_file(folder / "data.bin", 1_000_000)
    with origin.sharing(folder) as link:
        other.run("get", link, "--out", "got")
    assert tree(tmp_path / "got" / "folder") == tree(folder)
