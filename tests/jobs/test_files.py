"""The files that go along with a job: in a guest and with --local, a job reads the same, from memory."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2p.jobs.files import Files, Folder, installed_at, opened, served
from tests.support.guest_process import carry_out
from tests.support.leaks import none_left
from tests.support.local_jobs import run
from tests.support.packages.wheels import wheel

DATA = {"data.txt": "źdźbło\r\n".encode(), "pkg/__init__.py": b"", "pkg/deep/x.json": b'{"a": 1}', "pkg/y.txt": b"y"}
OWN = b"import os\ndef own():\n    return open(os.path.join(os.path.dirname(__file__), 'y.txt')).read()\n"
READ = """
import glob, importlib.resources, os, pkgutil
from pathlib import Path
from pkg import words

def tried(*args):
    try:
        return open(*args).read()
    except OSError as error:
        return type(error).__name__

def read(how):
    return {
        "relative": lambda: open("data.txt").read(),
        "dotted": lambda: open("./pkg/../data.txt", encoding="utf-8", newline="").read(),
        "bytes": lambda: open(b"data.txt", "rb").read(),
        "beside": lambda: open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "pkg", "y.txt")).read(),
        "path": lambda: (Path(__file__).parent / "data.txt").read_text(),
        "resolved": lambda: Path(__file__).resolve().with_name("data.txt").read_bytes(),
        "own": words.own,
        "get_data": lambda: pkgutil.get_data("pkg", "deep/x.json"),
        "resources": lambda: importlib.resources.files("pkg").joinpath("deep", "x.json").read_text(),
        "listed": lambda: sorted(one.name for one in importlib.resources.files("pkg").iterdir() if one.is_file()),
        "opened": lambda: importlib.resources.files(words.__package__).joinpath("y.txt").open("rb").read(),
        "there": lambda: [*map(os.path.exists, ("data.txt", "./pkg/deep", "nothing.txt")), Path("data.txt").is_file()],
        "size": lambda: (os.path.getsize("data.txt"), os.path.isdir("pkg"), Path(__file__).resolve().is_file()),
        "found": lambda: (sorted(glob.glob("pkg/*.t*t")), sorted(map(str, Path(__file__).parent.rglob("*.json")))),
        "walked": lambda: sorted(n for _, _, names in os.walk(os.path.abspath(".")) for n in names),
        "folder": lambda: tried("pkg"),
        "names": lambda: (sorted(os.listdir("pkg")), "data.txt" in os.listdir(), "deep" in os.listdir(Path("pkg"))),
        "missing": lambda: tried("nothing.txt"),
        "writing": lambda: tried("data.txt", "w"),
        "new": lambda: tried("new.txt", "x"),
        "outside": lambda: tried("../../etc/passwd"),
    }[how]()

def job(inputs):
    return inputs.params(%r).map(read).collect()
"""
EXPECTED = {
    "relative": "źdźbło\n",
    "dotted": "źdźbło\r\n",
    "bytes": "źdźbło\r\n",
    "beside": "y",
    "path": "źdźbło\n",
    "resolved": "źdźbło\r\n",
    "own": "y",
    "get_data": '{"a": 1}',
    "resources": '{"a": 1}',
    "listed": ["__init__.py", "words.py", "y.txt"],
    "opened": "y",
    "there": [True, True, False, True],
    "size": [11, True, True],
    "found": [["pkg/y.txt"], ["pkg/deep/x.json"]],
    "walked": ["__init__.py", "data.txt", "job.py", "words.py", "x.json", "y.txt"],
    "folder": "FileNotFoundError",
    "names": [["__init__.py", "deep", "words.py", "y.txt"], True, True],
    "missing": "FileNotFoundError",
    "writing": "OSError",
    "new": "OSError",
    "outside": "FileNotFoundError",
}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with none_left():
        yield


def both(job: str, files: dict[str, bytes]) -> list[Any]:
    """What a job returns in a guest and in this process."""
    answer, _ = carry_out({"job.py": job, **files})
    assert answer.get("ok") == "done", answer
    here = run(job, files=files).answer.json
    return [answer["value"], json.loads(here)]


def test_a_job_reads_its_files_in_every_way_the_same() -> None:
    usual = open, io.open, os.stat, os.lstat, os.listdir, os.scandir
    found = both(READ % [*EXPECTED], DATA | {"pkg/words.py": OWN})
    assert [dict(zip(EXPECTED, one, strict=True)) for one in found] == [EXPECTED, EXPECTED]
    assert (open, io.open, os.stat, os.lstat, os.listdir, os.scandir) == usual


def test_the_view_is_that_of_a_guest_wherever_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.txt").write_text("another")
    (tmp_path / "more.txt").write_text("more")
    monkeypatch.chdir(tmp_path)
    with served(Files({"data.txt": b"the job's"})):
        assert Path("data.txt").read_text() == "the job's"
        with pytest.raises(FileNotFoundError, match="go along with the job"):
            Path("more.txt").read_text()
        assert (tmp_path / "more.txt").read_text() == "more", "a path outside the job means what it always does"
    assert Path("data.txt").read_text() == "another"


def test_an_open_file_is_one_for_reading_only() -> None:
    with opened({"a": b"one\ntwo\n"}, "a") as text:
        assert [*text] == ["one\n", "two\n"]
    with opened({"a": b"abc"}, "a", "rb") as raw:
        assert (raw.name, raw.seek(1), raw.read(1), raw.writable()) == ("a", 1, b"b", False)
        for change, given in (("write", b"x"), ("writelines", [b"x"]), ("truncate", 0)):
            with pytest.raises(io.UnsupportedOperation):
                getattr(raw, change)(given)
    for mode in ("w", "a", "r+", "x", "wb", "b", "", "rw"):
        with pytest.raises(OSError, match="writes no files"):
            opened({"a": b""}, "a", mode)


def test_folders_do_not_lead_out() -> None:
    top = Folder({"a/b": b"1", "c": b"2"}, "")
    assert [one.name for one in top.iterdir()] == ["a", "c"]
    assert (top / "a" / "b").read_text() == "1"
    assert top.is_dir()
    assert (top / "a").is_dir()
    assert not (top / "b").is_dir()
    with pytest.raises(FileNotFoundError):
        (top / ".." / ".." / "c").read_bytes()


PACKAGE = {
    "tiny/__init__.py": b"from importlib.metadata import version\n__version__ = version('tiny.pkg')\n",
    "tiny/more.py": b"import pkgutil\ndef word():\n    return pkgutil.get_data('tiny', 'data/w.txt').decode()\n",
    "tiny/data/w.txt": b"word",
    "Tiny_Pkg-1.5.data/purelib/alone.py": b"NAME = __name__\n",
    "Tiny_Pkg-1.5.data/scripts/run": b"#!python\n",
}
IMPORTS = """
import os
import tiny, alone
from tiny import more

def seen(n):
    return tiny.__version__, more.word(), alone.NAME, os.listdir(), os.listdir(os.path.dirname(tiny.__file__))

def job(inputs):
    return inputs.range(1).map(seen).collect()
"""


def test_a_package_is_imported_from_its_wheel() -> None:
    content = wheel("Tiny_Pkg", "1.5", PACKAGE)
    found = both(IMPORTS, {"p2p/wheels/Tiny_Pkg-1.5-py3-none-any.whl": content})
    assert found == [[["1.5", "word", "alone", ["job.py"], ["__init__.py", "data", "more.py"]]]] * 2


def test_a_damaged_wheel_is_a_fault_with_words() -> None:
    content = wheel("tiny", "1", {"tiny.py": b"A = 1\n" * 100})
    name = "p2p/wheels/tiny-1-py3-none-any.whl"
    job = "def job(inputs):\n    import tiny\n    return 1\n"
    answer, _ = carry_out({"job.py": job, name: content[:-30]})
    assert answer["error"] == "job"
    assert answer["text"].startswith("the package 'tiny-1-py3-none-any.whl' cannot be read")
    at = content.index(b"tiny.py") + len("tiny.py") + 2
    answer, _ = carry_out({"job.py": job, name: content[:at] + b"\xff" * 4 + content[at + 4 :]})
    assert answer["error"] == "job"
    assert "the package's file tiny.py cannot be read" in answer["text"]


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ("a/b.py", "a/b.py"),
        ("a/", ""),
        ("x-1.data/purelib/a.py", "a.py"),
        ("x-1.data/purelib/", ""),
        ("x-1.data/data/etc/a", ""),
    ],
)
def test_where_a_member_of_a_wheel_is_installed(member: str, path: str) -> None:
    assert installed_at(member) == path


def test_what_is_in_a_wheel_is_one_of_the_files() -> None:
    files = Files({"job.py": b"", "p2p/wheels/tiny-1-py3-none-any.whl": wheel("tiny", "1", {"tiny.py": b"1"})})
    assert files["tiny.py"] == b"1"
    assert "tiny.py" in files
    assert len([*files]) == len(files) == 6
