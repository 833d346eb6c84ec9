"""C4: the files of a job go along with it, and its user is told which."""

from pathlib import Path

import pytest

from p2p.progress import Progress
from tests.support.local_jobs import run
from tests.support.processes import Peer
from tests.support.world import World, hint_of
from tests.support.world_jobs import run_job, volunteer

pytestmark = pytest.mark.usefixtures("compiled")
JOB = """
import importlib.resources, os, pkgutil
from pathlib import Path
from pkg import words

def tried(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__

def read(n):
    return [
        open("data.txt").read(),
        Path(__file__).resolve().with_name("data.txt").read_text(),
        open(os.path.join(os.path.dirname(words.__file__), "deep", "x.json")).read(),
        pkgutil.get_data("pkg", "deep/x.json"),
        importlib.resources.files("pkg").joinpath("deep/x.json").read_bytes(),
        *map(tried, (".env", "left.out", "link.txt", "/etc/passwd" if n else "../x")),
    ]

def job(inputs):
    return inputs.range(1).map(read).collect()
"""
FILES = {"data.txt": b"data", "pkg/__init__.py": b"", "pkg/words.py": b"", "pkg/deep/x.json": b"{}"}
READ = [["data", "data", "{}", "{}", "{}", *["FileNotFoundError"] * 4]]


def job_folder(path: Path) -> Path:
    files = FILES | {"job.py": JOB.encode(), ".env": b"secret", "left.out": b"", ".shoalignore": b"left.out\n"}
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    (path / "link.txt").symlink_to("/etc/passwd")
    return path


async def test_the_files_of_a_jobs_folder_are_there(world: World) -> None:
    """ray-project/ray#14527, #23151: pkgutil.get_data returned None, and the job ended with exit code 0."""
    owner, local, progress = await world.peer("owner"), await volunteer(world), Progress()
    answer = await run_job(owner, job_folder(world.folder / "job"), [hint_of(local)], progress=progress)
    assert answer.result == READ
    files = "every volunteer gets these files of the job too (6 B): data.txt, pkg/deep/x.json"
    link = "symbolic links do not go along with the job: link.txt"
    assert progress.notes[:2] == [link, files], "they are told before volunteers are even looked for"


def test_the_view_is_the_same_with_local(tmp_path: Path) -> None:
    (tmp_path / "peer").mkdir()
    alone = tmp_path / "alone.py"
    alone.write_text("def job(inputs):\n    return open('data.txt').read()\n")
    peer = Peer(tmp_path / "home")
    outcome = peer.run("run", job_folder(tmp_path / "job"), "--local", "--json")
    assert outcome.json()["result"] == READ
    told = peer.run("run", alone, "--local", code=1).err
    assert "No such file among those that go along with the job (see --with): 'data.txt'" in told
    assert peer.run("run", alone, "--with", tmp_path / "job" / "data.txt", "--local").out == "data\n"


def test_a_job_of_one_file_gets_what_is_named() -> None:
    files = {"data.txt": b"data"}
    job = "def job(inputs):\n    return inputs.range(1).map(lambda n: open('data.txt').read()).collect()\n"
    assert run(job, files=files).answer.json == '["data"]'
