"""Which files go along with a job, and what is said of them."""

import os
import subprocess
from pathlib import Path

import pytest

from p2p.compute import bundles, requirements, wheels
from p2p.errors import ConfigError
from tests.support.packages.wheels import wheel

JOB = b"def job(inputs):\n    return 1\n"
NAME = "tiny-1-py3-none-any.whl"


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def test_regular_files_of_a_folder_go_along_and_nothing_else(tmp_path: Path) -> None:
    files = {"job.py": JOB, "data.csv": b"1", "pkg/__init__.py": b"", "pkg/x.json": b"2", "empty/.keep": b""}
    left = {".env": b"s", ".git/config": b"s", "pkg/__pycache__/x.pyc": b"s", "big.bin": b"s", "out/a": b"s"}
    secret = folder_of(tmp_path / "outside", {"secret": b"s", "more.py": b"s"})
    folder = folder_of(tmp_path / "job", files | left | {".shoalignore": b"*.bin\n/out/\n"})
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(secret / "secret")
    (folder / "linked").symlink_to(secret)
    (folder / "more.py").symlink_to(secret / "more.py")
    told: list[str] = []
    found = bundles.collect(folder, tell=told.append)
    assert found == {name: data for name, data in files.items() if not name.startswith("empty")}
    assert told == ["symbolic links do not go along with the job: link, linked, more.py"]
    for number in range(20):
        (folder / f"{number:02}").symlink_to("x")
    bundles.collect(folder, tell=told.append)
    assert told[1].endswith("08, 09, and 13 more")
    assert bundles.told(found) == "every volunteer gets these files of the job too (2 B): data.csv, pkg/x.json"


def test_of_a_single_file_only_what_is_named_goes_along(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a.py": JOB, "data.csv": b"1", "more.py": b"2", "d/x": b"3"})
    (folder / NAME).write_bytes(wheel("t", "1", {}))
    assert bundles.collect(folder / "a.py") == {"job.py": JOB}
    assert bundles.told({"job.py": JOB, "more.py": b""}) is None
    along = [folder / "data.csv", folder / "more.py", folder / NAME]
    found = bundles.collect(folder / "a.py", along)
    assert found == {
        "job.py": JOB,
        "data.csv": b"1",
        "more.py": b"2",
        f"p2p/wheels/{NAME}": (folder / NAME).read_bytes(),
    }
    assert "data.csv, tiny-1-py3-none-any.whl" in (bundles.told(found) or "")
    folder_of(tmp_path, {"e/data.csv": b"9", "job.py": JOB, ".env": b"", "os.py": b"", "bundle.json": b""})
    for one, why in (
        ("d", "is not a file"),
        ("nothing", "No such file"),
        ("a.py", "has a file of that name already"),
        ("job.py", "has a file of that name already"),
        (".env", "begins with a dot"),
        ("os.py", "a module that comes with Python"),
        ("bundle.json", "a file of Shoal's own"),
    ):
        with pytest.raises(ConfigError, match=why):
            bundles.collect(folder / "a.py", [folder / one])
    with pytest.raises(ConfigError, match="has a file of that name already"):
        bundles.collect(folder / "a.py", [folder / "data.csv", folder / "e" / "data.csv"])
    (folder / "m.wasm").write_bytes(b"\0asm")
    with pytest.raises(ConfigError, match=r"no files go along with a \.wasm job"):
        bundles.collect(folder / "m.wasm", [folder / "data.csv"])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("p2p/x", "a module that comes with Python or Shoal"),
        ("module.wasm", "a file of Shoal's own"),
        ("bundle.json", "a file of Shoal's own"),
        ("json.py", "a module that comes with Python"),
        ("types/a.py", "a module that comes with Python"),
        ("a\nb", "control character"),
    ],
)
def test_names_that_a_bundle_cannot_have(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        bundles.collect(folder_of(tmp_path, {"job.py": JOB, name: b""}))


def test_too_much_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"job.py": JOB})
    with (folder / "data.bin").open("wb") as file:
        file.truncate(bundles.MAX_BYTES + 1)
    with pytest.raises(ConfigError, match=r"data\.bin has more than 16 MiB.*--input.*\.shoalignore"):
        bundles.collect(folder)
    with (folder / "data.bin").open("wb") as file:
        file.truncate(bundles.MAX_BYTES - 10)
    with pytest.raises(ConfigError, match=r"its largest file is data\.bin"):
        bundles.collect(folder)
    (folder / ".shoalignore").write_text("data.bin\n")
    assert bundles.collect(folder) == {"job.py": JOB}
    folder_of(folder, {f"d/{n}": b"" for n in range(bundles.MAX_FILES)})
    with pytest.raises(ConfigError, match="at most 1000 files"):
        bundles.collect(folder)


def test_a_path_that_the_disk_refuses_is_an_error_with_words(tmp_path: Path) -> None:
    for path, why in (("a" * 300, "File name too long"), ("nothing", "does not exist"), ("nul\0", "Cannot read")):
        with pytest.raises(ConfigError, match=why):
            bundles.collect(tmp_path / path)


def test_many_files_are_counted(tmp_path: Path) -> None:
    many = {"job.py": JOB, **{f"d/{n}/{n}": b"1" for n in range(100)}, "e/f": b"", "z.txt": b""}
    assert (bundles.told(many) or "").endswith("(100 B): z.txt, d/ (100 files), e/ (1 file)")
    many |= {f"{n:03}.txt": b"" for n in range(99)}
    assert (bundles.told(many) or "").endswith("038.txt, and 62 more")


@pytest.mark.parametrize(
    ("file", "files", "why"),
    [
        ("tiny.whl", {}, "does not have the name of a wheel"),
        ("tiny-1-cp312-cp312-manylinux_2_17_x86_64.whl", {}, "only pure Python goes along"),
        ("tiny-1-py2-none-any.whl", {}, "only pure Python goes along"),
        ("tiny-1-py3-none-linux_x86_64.whl", {}, "only pure Python goes along"),
        (NAME, {"tiny/fast.cpython-312-x86_64-linux-gnu.so": b""}, "has native code"),
        (NAME, {"tiny/lib.so.1.2": b""}, "has native code"),
        (NAME, {"json/__init__.py": b""}, "has a module 'json'"),
        (NAME, {"p2p/jobs/x.py": b""}, "has a module 'p2p'"),
        (NAME, {"tiny-1.data/purelib/types.py": b""}, "has a module 'types'"),
        (NAME, {"job.py": b""}, "has a module 'job'"),
    ],
)
def test_wheels_that_do_not_go_along(file: str, files: dict[str, bytes], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        wheels.check(file, wheel("tiny", "1", files))


def test_wheels_that_go_along() -> None:
    content = wheel("tiny", "1", {"tiny/__init__.py": b"", "alone.py": b"", "tiny-1.data/purelib/more/a.py": b""})
    assert wheels.check(NAME, content) == {"tiny", "alone", "more"}
    assert wheels.check("Tiny_x-1!2.0+a.b-1b-py2.py3-none-any.whl", content) == {"tiny", "alone", "more"}
    with pytest.raises(ConfigError, match="is no wheel"):
        wheels.check(NAME, content[:20])
    both = {f"p2p/wheels/Ti_ny-{n}-py3-none-any.whl": wheel("ti.ny", f"{n}", {}) for n in range(2)}
    with pytest.raises(ConfigError, match=r"Ti_ny-0-.* and Ti_ny-1-.* are the same package"):
        bundles.check_wheels(both)
    shared = {"space/__init__.py": b"", "tests/a.py": b"1"}
    one = wheel("one", "1", shared | {"space/one.py": b"1", "space/both.py": b"1"})
    for same, tests in ((b"1", b"2"), (b"2", b"1")):
        other = wheel("other", "1", shared | {"space/other.py": b"1", "space/both.py": same, "tests/a.py": tests})
        files = {"p2p/wheels/one-1-py3-none-any.whl": one, "p2p/wheels/other-1-py3-none-any.whl": other}
        if same == b"1":
            bundles.check_wheels(files)
        else:
            with pytest.raises(ConfigError, match=r"one-1.* and other-1.* have different modules in space/both\.py"):
                bundles.check_wheels(files)
    with pytest.raises(ConfigError, match="has a module 'alone', and so has the job"):
        bundles.check_wheels({"job.py": JOB, "alone/x.py": b"", f"p2p/wheels/{NAME}": content})


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("tiny==1.5\n", ["tiny==1.5"]),
        ("# all\n\n tiny == 1.5  # why\r\nother==2", ["tiny==1.5", "other==2"]),
        ("a[b, c]==1.0.post1+x", ["a[b,c]==1.0.post1+x"]),
        ("a==1; python_version >= '3.8' and sys_platform == \"linux\"", None),
        ("a==1 \\\n    --hash=sha256:00ff \\\n    --hash=sha256:11\n", ["a==1 --hash=sha256:00ff --hash=sha256:11"]),
        ("a==1 ; extra == 'x' --hash=sha256:00", ["a==1 ; extra == 'x' --hash=sha256:00"]),
    ],
)
def test_requirements_that_are_taken(text: str, lines: list[str] | None) -> None:
    assert requirements.parse(text) == (lines or ["a==1 ; python_version >= '3.8' and sys_platform == \"linux\""])


def test_a_file_that_cannot_be_a_list_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "odd").write_bytes(b"\xff==1")
    for name, why in (("pipe", "is not a file"), ("nothing", "No such file"), ("odd", "is not UTF-8 text")):
        with pytest.raises(ConfigError, match=why):
            requirements.read(tmp_path / name)


def test_nothing_in_the_current_folder_is_taken_for_pip(tmp_path: Path) -> None:
    (tmp_path / "pip.py").write_text("import sys\nsys.exit('taken')\n")
    command = requirements.command(["tiny==1"], "3.12", tmp_path / "packages")
    asked = [*command[: command.index("download")], "--version"]
    assert subprocess.run(asked, cwd=tmp_path, capture_output=True, check=True).stdout.startswith(b"pip ")
    assert (tmp_path / "packages" / "requirements.txt").read_text() == "tiny==1\n"


@pytest.mark.parametrize(
    "line",
    [
        "tiny",
        "tiny>=1",
        "tiny==1.*",
        "tiny==1,<2",
        "tiny===1",
        "-r more.txt",
        "-e .",
        "--index-url http://evil.example/",
        "tiny==1 --index-url http://evil.example/",
        "tiny==1 ; python_version > '3' --index-url http://evil.example/",
        "tiny==1 ; python_version > '3' -i evil",
        "tiny==1 --hash=sha256:00 --pre",
        "tiny @ file:///etc/passwd",
        "tiny @ https://evil.example/tiny-1-py3-none-any.whl",
        "https://evil.example/tiny-1-py3-none-any.whl",
        "./tiny-1-py3-none-any.whl",
        "tiny==1 --global-option=x",
        "tiny==$VERSION",
        "tiny==1 \\",
        "tiny==1\x0b--pre",
        "",
    ],
)
def test_requirements_that_are_refused(line: str) -> None:
    if line == "tiny==1 \\":
        assert requirements.parse(line) == ["tiny==1"]
        return
    with pytest.raises(ConfigError, match=r"is not NAME==VERSION|1 to 500"):
        requirements.parse(line)
