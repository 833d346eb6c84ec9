"""F: packages of pure Python go along with a job."""

from pathlib import Path

import pytest
import trio

from p2p.compute import requirements
from p2p.errors import ConfigError, NotFound
from p2p.progress import Progress
from tests.support.constants import shorten as shorten
from tests.support.local_jobs import run
from tests.support.packages.index import serve_index
from tests.support.packages.wheels import wheel
from tests.support.processes import Peer
from tests.support.world import PATIENCE_S, World, hint_of
from tests.support.world_jobs import run_job, volunteer, write_job

pytestmark = pytest.mark.usefixtures("compiled")
JOB = """
import shoaltiny, shoalneeded, shoalgiven

def job(inputs):
    return inputs.range(2).map(lambda n: shoaltiny.word() + shoalneeded.NAME + shoalgiven.NAME).collect()
"""
GIVEN = "shoalgiven-1-py3-none-any.whl"
PACKAGE = b"from pkgutil import get_data\ndef word():\n    return get_data(__name__, 'w').decode()\n"
WHEELS = {
    "shoaltiny-1.0-py3-none-any.whl": wheel("shoaltiny", "1.0", {"shoaltiny.py": b"def word():\n    return 'old'\n"}),
    "shoaltiny-1.5-py3-none-any.whl": wheel(
        "shoaltiny",
        "1.5",
        {
            "shoaltiny/__init__.py": PACKAGE,
            "shoaltiny/w": b"word ",
        },
        requires="shoalneeded",
    ),
    "shoalneeded-2-py3-none-any.whl": wheel("shoalneeded", "2", {"shoalneeded.py": b"NAME = 'two '\n"}),
    "shoalnative-1-cp312-cp312-manylinux_2_17_x86_64.whl": wheel("shoalnative", "1", {"shoalnative.so": b""}),
}


def given(folder: Path) -> Path:
    path = folder / GIVEN
    path.write_bytes(wheel("shoalgiven", "1", {"shoalgiven.py": b"NAME = 'given'\n"}))
    return path


def listed(folder: Path, text: str) -> Path:
    path = folder / "wanted.txt"
    path.write_text(text)
    return path


async def test_a_job_has_its_packages_and_keeps_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """bacalhau-project/bacalhau#2875: what a job imports was not where it ran. A job that goes on asks nobody again."""
    owner, local, progress = await world.peer("owner"), await volunteer(world), Progress()
    along = {
        "along": (str(given(world.folder)),),
        "requirements": str(listed(world.folder, "shoaltiny==1.5  # not the old one\n")),
        "runtime": "python-wasm",
    }
    job = write_job(world, JOB)
    async with trio.open_nursery() as nursery:
        index = await serve_index(nursery, WHEELS)
        monkeypatch.setattr(requirements, "INDEX", f"{index.url}/simple/")
        with pytest.raises(NotFound):
            await run_job(owner, job, [], progress=progress, wait_s=0.1, **along)
        nursery.cancel_scope.cancel()
    assert any(b"shoaltiny-1.5" in request for request in index.requests)
    assert f"every volunteer gets these files of the job too (852 B): {GIVEN}" in progress.notes[0]
    names = "shoalneeded-2-py3-none-any.whl, shoaltiny-1.5-py3-none-any.whl"
    assert f"every volunteer gets these packages too: {names}" in progress.notes
    (stopped,) = await owner.jobs.listed()
    with trio.fail_after(PATIENCE_S):
        answer = await owner.jobs.resume(stopped.job, Progress(), [str(hint_of(local))])
    assert answer.result == ["word two given"] * 2


async def test_only_wheels_of_pure_python_are_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await world.peer("owner")
    job = write_job(world, JOB)
    async with trio.open_nursery() as nursery:
        index = await serve_index(nursery, WHEELS)
        monkeypatch.setattr(requirements, "INDEX", f"{index.url}/simple/")
        wanted = str(listed(world.folder, "shoalnative==1\n"))
        with pytest.raises(ConfigError, match=r"pip found no wheels of pure Python.*shoalnative==1"):
            await run_job(owner, job, [], requirements=wanted, runtime="python-wasm")
        nursery.cancel_scope.cancel()
    assert not list((owner.home / "jobs").iterdir())
    monkeypatch.setattr(requirements, "PIP", "no_such_module")
    with pytest.raises(ConfigError, match=r"needs pip, which .* does not have"):
        await run_job(owner, job, [], requirements=wanted, runtime="python-wasm")


def test_a_wheel_goes_along_with_local_too(tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text("import shoalgiven\ndef job(inputs):\n    return shoalgiven.NAME\n")
    wanted = listed(tmp_path, "shoalgiven==1\n--index-url http://example.org/\n")
    peer = Peer(tmp_path / "home")
    assert peer.run("run", job, "--with", given(tmp_path), "--local").out == "given\n"
    told = peer.run("run", job, "--with-requirements", wanted, "--local", code=2).err
    assert "line 2 of the requirements" in told
    assert "ModuleNotFoundError" in peer.run("run", tmp_path / "job.py", "--local", code=1).err


def test_a_package_finds_its_own_modules_as_on_a_disk() -> None:
    """Packages that register their parts with pkgutil had none, without a word."""
    parts = {"parts/__init__.py": b"", "parts/one.py": b"N = 1\n", "parts/deep/__init__.py": b"N = 2\n"}
    odd = {"odd-1.dist-info/METADATA": b"no name"}
    code = """
import importlib.metadata, pkgutil, parts

def job(inputs):
    found = [one.name for one in pkgutil.walk_packages(parts.__path__, "parts.")]
    return [[name, importlib.import_module(name).N] for name in found] + [importlib.metadata.version("given-parts")]
"""
    made = wheel("given_parts", "1", parts | odd)
    answer = run(code, files={"p2p/wheels/given_parts-1-py3-none-any.whl": made}).answer
    assert answer.json == '[["parts.deep", 2], ["parts.one", 1], "1"]'
    own = run(code.replace(' + [importlib.metadata.version("given-parts")]', ""), files=parts).answer
    assert own.json == '[["parts.deep", 2], ["parts.one", 1]]'
